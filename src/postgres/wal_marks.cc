#include "postgres/wal_marks.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace holdfast::postgres {
namespace {

// What a segment's metadata may grow by: they are read for every segment that a plan looks at.
constexpr std::size_t kMaxStretchBytes = 64 * 1024;
constexpr std::size_t kMaxRestorePoints = 500;

using Stretches = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

Stretches stretches_of(const std::vector<TransactionEnd>& ends) {
  std::vector<std::uint32_t> xids;
  xids.reserve(ends.size());
  for (const TransactionEnd& end : ends) xids.push_back(end.xid);
  std::ranges::sort(xids);
  Stretches stretches;
  for (const std::uint32_t xid : xids) {
    if (!stretches.empty() && xid - stretches.back().second <= 1) {
      stretches.back().second = xid;
    } else {
      stretches.emplace_back(xid, xid);
    }
  }
  return stretches;
}

// Each as its distance from the one before, and its length less one.
void pack(const Stretches& stretches, base::ByteWriter& writer) {
  writer.varint(stretches.size());
  std::uint64_t next = 0;
  for (const auto& [first, last] : stretches) {
    writer.varint(first - next);
    writer.varint(last - first);
    next = std::uint64_t{last} + 1;
  }
}

Stretches unpack(base::ByteReader& reader, const std::string& object) {
  constexpr std::uint64_t kGreatest = std::numeric_limits<std::uint32_t>::max();
  Stretches stretches(reader.count(2));
  std::uint64_t next = 0;
  for (auto& [first, last] : stretches) {
    const std::uint64_t gap = reader.varint();
    const std::uint64_t more = reader.varint();
    if (gap > kGreatest || more > kGreatest || next + gap + more > kGreatest) {
      throw base::Error(base::ErrorKind::kDamaged,
                        fmt::format("{} names transactions that cannot be", object));
    }
    first = static_cast<std::uint32_t>(next + gap);
    last = static_cast<std::uint32_t>(next + gap + more);
    next = std::uint64_t{last} + 1;
  }
  return stretches;
}

}  // namespace

bool WalMarks::may_hold(std::uint32_t xid) const {
  const auto behind =
      std::ranges::upper_bound(xids, xid, {}, [](auto& each) { return each.first; });
  return !complete || (behind != xids.begin() && xid <= std::prev(behind)->second);
}

WalMarks marks_of(const WalSegmentInfo& info) {
  WalMarks marks;
  marks.xids = stretches_of(info.ends);
  marks.restore_points = info.restore_points;
  marks.complete = !info.marks_missing && info.end == info.start + info.segment_size;
  return marks;
}

std::optional<repository::LogSection> encode_marks(const WalMarks& marks) {
  if (marks.complete && marks.xids.empty() && marks.restore_points.empty()) return std::nullopt;
  const std::size_t points = std::min(marks.restore_points.size(), kMaxRestorePoints);
  const std::uint8_t complete = marks.complete && points == marks.restore_points.size() ? 1 : 0;
  base::ByteWriter writer;
  writer.u8(complete);
  pack(marks.xids, writer);
  if (writer.size() > kMaxStretchBytes) {
    writer = {};
    writer.u8(complete);
    pack({{marks.xids.front().first, marks.xids.back().second}}, writer);
  }
  writer.varint(points);
  for (std::size_t i = 0; i < points; ++i) {
    const RestorePoint& point = marks.restore_points[i];
    writer.string(point.name);
    writer.u64(static_cast<std::uint64_t>(point.time.time_since_epoch().count()));
    writer.u64(point.lsn);
  }
  return repository::LogSection{kMarksSection, writer.take()};
}

WalMarks decode_marks(const repository::LogInfo& info, const std::string& object) {
  WalMarks marks;
  const base::Bytes* section = info.section(kMarksSection);
  if (section == nullptr) return marks;
  base::ByteReader reader(*section, object);
  marks.complete = reader.u8() == 1;
  marks.xids = unpack(reader, object);
  constexpr std::size_t kSmallestPoint = 17;
  marks.restore_points.resize(reader.count(kSmallestPoint));
  for (RestorePoint& point : marks.restore_points) {
    point.name = reader.string();
    point.time = base::Time(base::Duration(static_cast<std::int64_t>(reader.u64())));
    point.lsn = reader.u64();
  }
  reader.expect_end();
  return marks;
}

}  // namespace holdfast::postgres
