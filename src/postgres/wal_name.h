// Positions in the write-ahead log and the names of the files in pg_wal.
// Facts: PostgreSQL's access/xlog_internal.h and xlogdefs.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::postgres {

// A byte position in the WAL. 0 is no position.
using Lsn = std::uint64_t;

// "16/B374D848", as pg_lsn prints it.
std::string format_lsn(Lsn lsn);
// One to eight hexadecimal digits on each side of the slash; nullopt for anything else.
std::optional<Lsn> parse_lsn(std::string_view text);

inline constexpr std::uint32_t kDefaultSegmentSize = 16U << 20;
// A power of two from 1 MiB to 1 GiB, as initdb --wal-segsize allows.
bool is_segment_size(std::uint64_t size_bytes);

// A WAL segment: `number` counts segments of one size from LSN 0. The functions below need a
// segment size for which is_segment_size() holds.
struct SegmentName {
  std::uint32_t timeline = 1;
  std::uint64_t number = 0;

  auto operator<=>(const SegmentName&) const = default;
};

std::string format_segment_name(SegmentName name, std::uint32_t segment_size);
// Exactly 24 upper-case hexadecimal digits, timeline >= 1, and a segment that exists in that size.
std::optional<SegmentName> parse_segment_name(std::string_view text, std::uint32_t segment_size);

inline std::uint64_t segment_number(Lsn lsn, std::uint32_t segment_size) {
  return lsn / segment_size;
}
// The last segment that holds a byte before `end`: for the end of a backup or of a stream.
inline std::uint64_t segment_number_before(Lsn end, std::uint32_t segment_size) {
  return end == 0 ? 0 : (end - 1) / segment_size;
}
inline Lsn segment_start(std::uint64_t number, std::uint32_t segment_size) {
  return number * segment_size;
}

enum class WalFileKind {
  kSegment,        // 000000010000000000000002
  kPartial,        // 000000010000000000000002.partial
  kHistory,        // 00000002.history
  kBackupHistory,  // 000000010000000000000002.00000028.backup
};

struct WalFileName {
  WalFileKind kind = WalFileKind::kSegment;
  std::uint32_t timeline = 1;
  std::string text;  // the whole name

  // The 24 digits; empty for kHistory.
  std::string_view segment() const;

  bool operator==(const WalFileName&) const = default;
};

// A bare file name as PostgreSQL writes it (upper-case digits, timeline >= 1); nullopt for anything
// else, so for whatever holds a slash.
std::optional<WalFileName> parse_wal_file_name(std::string_view name);

std::string history_file_name(std::uint32_t timeline);

}  // namespace holdfast::postgres
