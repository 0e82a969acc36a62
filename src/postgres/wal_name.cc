#include "postgres/wal_name.h"

#include <fmt/format.h>

#include <bit>
#include <charconv>

namespace holdfast::postgres {
namespace {

constexpr std::uint64_t kLogIdSize = std::uint64_t{1} << 32;  // the middle 8 digits count these
constexpr std::size_t kSegmentNameSize = 24;

std::optional<std::uint32_t> parse_hex(std::string_view digits) {
  std::uint32_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [rest, error] = std::from_chars(digits.data(), end, value, 16);
  if (digits.empty() || digits.size() > 8 || error != std::errc{} || rest != end) {
    return std::nullopt;
  }
  return value;
}

bool all_upper_hex(std::string_view text) {
  return text.find_first_not_of("0123456789ABCDEF") == std::string_view::npos;
}

// The timeline, where `text` begins with its eight digits and they are not all 0.
std::optional<std::uint32_t> parse_timeline(std::string_view text) {
  const std::string_view digits = text.substr(0, 8);
  if (digits.size() != 8 || !all_upper_hex(digits)) {
    return std::nullopt;
  }
  const auto timeline = parse_hex(digits);
  return timeline && *timeline != 0 ? timeline : std::nullopt;
}

std::optional<WalFileKind> kind_of(std::string_view name) {
  if (name.size() == 16 && name.substr(8) == ".history") {
    return WalFileKind::kHistory;
  }
  if (name.size() < kSegmentNameSize || !all_upper_hex(name.substr(0, kSegmentNameSize))) {
    return std::nullopt;
  }
  const std::string_view rest = name.substr(kSegmentNameSize);
  if (rest.empty()) {
    return WalFileKind::kSegment;
  }
  if (rest == ".partial") {
    return WalFileKind::kPartial;
  }
  if (rest.size() == 16 && rest[0] == '.' && all_upper_hex(rest.substr(1, 8)) &&
      rest.substr(9) == ".backup") {
    return WalFileKind::kBackupHistory;
  }
  return std::nullopt;
}

}  // namespace

std::string format_lsn(Lsn lsn) { return fmt::format("{:X}/{:X}", lsn >> 32, lsn & 0xFFFFFFFF); }

std::optional<Lsn> parse_lsn(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) {
    return std::nullopt;
  }
  const auto high = parse_hex(text.substr(0, slash));
  const auto low = parse_hex(text.substr(slash + 1));
  if (!high || !low) {
    return std::nullopt;
  }
  return Lsn{*high} << 32 | *low;
}

bool is_segment_size(std::uint64_t size_bytes) {
  return std::has_single_bit(size_bytes) && size_bytes >= (1U << 20) && size_bytes <= (1U << 30);
}

std::string format_segment_name(SegmentName name, std::uint32_t segment_size) {
  const std::uint64_t per_log_id = kLogIdSize / segment_size;
  return fmt::format("{:08X}{:08X}{:08X}", name.timeline, name.number / per_log_id,
                     name.number % per_log_id);
}

std::optional<SegmentName> parse_segment_name(std::string_view text, std::uint32_t segment_size) {
  const auto timeline = parse_timeline(text);
  if (!timeline || kind_of(text) != WalFileKind::kSegment) {
    return std::nullopt;
  }
  const std::uint64_t per_log_id = kLogIdSize / segment_size;
  const auto log_id = parse_hex(text.substr(8, 8));
  const auto segment = parse_hex(text.substr(16, 8));
  if (!log_id || !segment || *segment >= per_log_id) {
    return std::nullopt;
  }
  return SegmentName{.timeline = *timeline, .number = *log_id * per_log_id + *segment};
}

std::string_view WalFileName::segment() const {
  return kind == WalFileKind::kHistory ? std::string_view{}
                                       : std::string_view{text}.substr(0, kSegmentNameSize);
}

std::optional<WalFileName> parse_wal_file_name(std::string_view name) {
  const auto kind = kind_of(name);
  const auto timeline = parse_timeline(name);
  if (!kind || !timeline) {
    return std::nullopt;
  }
  return WalFileName{.kind = *kind, .timeline = *timeline, .text = std::string{name}};
}

std::string history_file_name(std::uint32_t timeline) {
  return fmt::format("{:08X}.history", timeline);
}

}  // namespace holdfast::postgres
