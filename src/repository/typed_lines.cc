#include "repository/typed_lines.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <optional>
#include <vector>

#include "base/error.h"
#include "crypto/hash.h"
#include "repository/fields.h"

namespace holdfast::repository {
namespace {

// Crockford's base32: no I, L, O or U, so that what looks alike can be taken for what was meant.
constexpr std::string_view kDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::size_t kBytesInLine = 20;
constexpr std::size_t kGroup = 4;  // digits; as many are the check
constexpr std::size_t kMostDigits = kBytesInLine * 8 / 5 + kGroup;
constexpr std::size_t kMostLines = 1000;
constexpr std::uint8_t kNoDigit = 0xff;

std::uint8_t digit_value(char c) {
  if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  if (c == 'O') return 0;
  if (c == 'I' || c == 'L') return 1;
  const std::size_t value = kDigits.find(c);
  return value == std::string_view::npos ? kNoDigit : static_cast<std::uint8_t>(value);
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }

// The first 20 bits of SHA-256(number ‖ bytes), as digits.
std::array<std::uint8_t, kGroup> check_of(std::size_t number, base::ByteView bytes) {
  std::array<std::uint8_t, 4 + kBytesInLine> checked{};
  for (std::size_t i = 0; i < 4; ++i) checked[i] = static_cast<std::uint8_t>(number >> (8 * i));
  std::copy(bytes.begin(), bytes.end(), checked.begin() + 4);
  const crypto::Digest digest = crypto::sha256(base::ByteView(checked).first(4 + bytes.size()));
  crypto::wipe(checked);
  const std::uint32_t bits = static_cast<std::uint32_t>(digest[0]) << 12 |
                             static_cast<std::uint32_t>(digest[1]) << 4 | digest[2] >> 4;
  std::array<std::uint8_t, kGroup> check{};
  for (std::size_t i = 0; i < kGroup; ++i) {
    check[i] = static_cast<std::uint8_t>(bits >> (15 - 5 * i) & 31);
  }
  return check;
}

void append_line(std::string& text, std::size_t number, base::ByteView bytes) {
  fmt::format_to(std::back_inserter(text), "{:>3}:", number);
  std::size_t digits = 0;
  const auto append = [&](std::uint32_t value) {
    if (digits++ % kGroup == 0) text.push_back(' ');
    text.push_back(kDigits[value & 31]);
  };
  std::uint32_t bits = 0;
  int held = 0;
  for (const std::uint8_t byte : bytes) {
    bits = bits << 8 | byte;
    held += 8;
    for (; held >= 5; held -= 5) append(bits >> (held - 5));
  }
  if (held > 0) append(bits << (5 - held));
  text.append(" ");
  digits = 0;
  for (const std::uint8_t value : check_of(number, bytes)) append(value);
  text.push_back('\n');
}

// The digits of a line behind its number; false where there is anything else, or too many.
bool read_digits(std::string_view line, WipedBytes& digits) {
  digits.bytes.reserve(kMostDigits);
  for (const char c : line) {
    if (is_space(c) || c == '-') continue;
    const std::uint8_t value = digit_value(c);
    if (value == kNoDigit || digits.bytes.size() == kMostDigits) return false;
    digits.bytes.push_back(value);
  }
  return digits.bytes.size() > kGroup;
}

// Appends the bytes of a line; false where its check or its length is wrong.
bool read_line(std::string_view line, std::size_t number, bool is_last, base::Bytes& out) {
  WipedBytes digits;
  if (!read_digits(line, digits)) return false;
  const base::ByteView all = digits.bytes;
  const std::size_t begin = out.size();
  std::uint32_t bits = 0;
  int held = 0;
  for (const std::uint8_t value : all.first(all.size() - kGroup)) {
    bits = bits << 5 | value;
    held += 5;
    if (held < 8) continue;
    held -= 8;
    out.push_back(static_cast<std::uint8_t>(bits >> held));
  }
  if (held >= 5 || (bits & ((1u << held) - 1)) != 0) return false;
  const base::ByteView bytes = base::ByteView(out).subspan(begin);
  if (bytes.empty() || (!is_last && bytes.size() != kBytesInLine)) return false;
  const auto check = check_of(number, bytes);
  return std::equal(check.begin(), check.end(), all.last(kGroup).begin());
}

// What stands before the first colon or space, as a number; the line is left with what follows.
std::optional<std::size_t> take_number(std::string_view& line) {
  std::size_t number = 0;
  std::size_t i = 0;
  for (; i < line.size() && line[i] != ':' && !is_space(line[i]); ++i) {
    const std::uint8_t value = digit_value(line[i]);
    if (value > 9 || number > kMostLines) return std::nullopt;
    number = number * 10 + value;
  }
  while (i < line.size() && (line[i] == ':' || is_space(line[i]))) ++i;
  line.remove_prefix(i);
  return number;
}

std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  while (!line.empty() && is_space(line.front())) line.remove_prefix(1);
  while (!line.empty() && is_space(line.back())) line.remove_suffix(1);
  return line;
}

// The lines by their numbers.
std::vector<std::string_view> sort_lines(std::string_view text, std::size_t count,
                                         std::vector<std::string>& problems) {
  std::vector<std::string_view> lines(count);
  while (!text.empty()) {
    std::string_view line = take_line(text);
    if (line.empty() || line.front() == '#') continue;
    const auto number = take_number(line);
    if (!number || *number < 1 || *number > count) {
      problems.emplace_back("a line does not begin with its number");
    } else if (!lines[*number - 1].empty()) {
      problems.push_back(fmt::format("line {} is there twice", *number));
    } else {
      lines[*number - 1] = line;
    }
  }
  return lines;
}

}  // namespace

std::size_t count_typed_lines(std::size_t size_bytes) {
  return (size_bytes + kBytesInLine - 1) / kBytesInLine;
}

crypto::SecretText to_typed_lines(base::ByteView bytes) {
  constexpr std::size_t kLineLength = 64;  // more than any has: the text never grows
  std::string text;
  text.reserve(count_typed_lines(bytes.size()) * kLineLength);
  for (std::size_t number = 1; !bytes.empty(); ++number) {
    const std::size_t size = std::min(bytes.size(), kBytesInLine);
    append_line(text, number, bytes.first(size));
    bytes = bytes.subspan(size);
  }
  return crypto::SecretText(std::move(text));
}

base::Bytes from_typed_lines(std::string_view text, std::size_t count) {
  if (count < 1 || count > kMostLines) {
    throw base::Error(base::ErrorKind::kKey, "the key has an impossible number of lines",
                      "take the line that begins with 'holdfast-key-1' from the paper again");
  }
  std::vector<std::string> problems;
  const auto lines = sort_lines(text, count, problems);
  WipedBytes out;
  out.bytes.reserve(count * kBytesInLine);  // never grows: no copy of a key is left behind
  for (std::size_t i = 0; i < count; ++i) {
    if (lines[i].empty()) {
      problems.push_back(fmt::format("line {} is missing", i + 1));
    } else if (!read_line(lines[i], i + 1, i + 1 == count, out.bytes)) {
      problems.push_back(fmt::format("line {} is mistyped", i + 1));
    }
  }
  if (problems.empty()) return std::move(out.bytes);
  constexpr std::size_t kMostNamed = 10;
  if (problems.size() > kMostNamed) problems.resize(kMostNamed);
  throw base::Error(
      base::ErrorKind::kKey,
      fmt::format("the key was not typed as it was printed: {}", fmt::join(problems, ", ")),
      "compare these lines with the paper, character by character");
}

}  // namespace holdfast::repository
