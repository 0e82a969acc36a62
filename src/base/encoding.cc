// Hexadecimal and base64 (RFC 4648), and text for messages, declared in bytes.h. Results are
// reserved at once, so that text that holds a key leaves no copies behind by growing.
#include <algorithm>
#include <array>

#include "base/bytes.h"

namespace holdfast::base {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase64Digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kNoDigit = 0xff;

constexpr std::array<std::uint8_t, 256> make_base64_values() {
  std::array<std::uint8_t, 256> values{};
  values.fill(kNoDigit);
  for (std::size_t i = 0; i < kBase64Digits.size(); ++i) {
    values[static_cast<unsigned char>(kBase64Digits[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}
constexpr auto kBase64Values = make_base64_values();

std::uint8_t hex_value(char digit) {
  if (digit >= '0' && digit <= '9') return static_cast<std::uint8_t>(digit - '0');
  if (digit >= 'a' && digit <= 'f') return static_cast<std::uint8_t>(digit - 'a' + 10);
  if (digit >= 'A' && digit <= 'F') return static_cast<std::uint8_t>(digit - 'A' + 10);
  return kNoDigit;
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace

std::string printable(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (c == '\n') {
      result += "\\n";
    } else if (c == '\t') {
      result += "\\t";
    } else if (c == '\\') {
      result += "\\\\";
    } else if (byte < 0x20 || byte == 0x7f) {
      result += "\\x";
      result += kHexDigits[byte >> 4];
      result += kHexDigits[byte & 0xf];
    } else {
      result += c;
    }
  }
  return result;
}

std::string to_hex(ByteView bytes) {
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    hex.push_back(kHexDigits[byte >> 4]);
    hex.push_back(kHexDigits[byte & 0xf]);
  }
  return hex;
}

bool from_hex(std::string_view hex, MutableByteView out) {
  if (hex.size() % 2 != 0 || hex.size() / 2 != out.size()) return false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint8_t high = hex_value(hex[2 * i]);
    const std::uint8_t low = hex_value(hex[2 * i + 1]);
    if (high == kNoDigit || low == kNoDigit) return false;
    out[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return true;
}

std::string to_base64(ByteView bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t size = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) group = group << 8 | (j < size ? bytes[i + j] : 0u);
    for (std::size_t j = 0; j < 4; ++j) {
      text.push_back(j <= size ? kBase64Digits[group >> (18 - 6 * j) & 0x3f] : '=');
    }
  }
  return text;
}

bool from_base64(std::string_view text, Bytes& out) {
  out.clear();
  out.reserve(text.size() / 4 * 3);
  std::uint32_t group = 0;
  std::size_t digits = 0;
  std::size_t padding = 0;
  for (const char c : text) {
    if (is_space(c)) continue;
    if (c == '=') {
      // Only in the place of a group's last one or two digits.
      if (++padding > 2 || digits % 4 + padding > 4 || digits % 4 < 2) return false;
      continue;
    }
    const std::uint8_t value = kBase64Values[static_cast<unsigned char>(c)];
    if (value == kNoDigit || padding > 0) return false;
    group = group << 6 | value;
    if (++digits % 4 != 0) continue;
    out.push_back(static_cast<std::uint8_t>(group >> 16));
    out.push_back(static_cast<std::uint8_t>(group >> 8));
    out.push_back(static_cast<std::uint8_t>(group));
    group = 0;
  }
  if ((digits + padding) % 4 != 0) return false;
  if (padding == 0) return true;
  // The bits that belong to no byte must be zero, so that each content has one text alone.
  const std::uint32_t last = group << (6 * padding);
  if (padding == 2) {
    if ((last & 0xffff) != 0) return false;
    out.push_back(static_cast<std::uint8_t>(last >> 16));
  } else {
    if ((last & 0xff) != 0) return false;
    out.push_back(static_cast<std::uint8_t>(last >> 16));
    out.push_back(static_cast<std::uint8_t>(last >> 8));
  }
  return true;
}

}  // namespace holdfast::base
