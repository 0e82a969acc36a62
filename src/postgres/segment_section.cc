#include "postgres/segment_section.h"

#include <fmt/format.h>

#include "base/error.h"

namespace holdfast::postgres {
namespace {

std::uint64_t microseconds(const std::optional<base::Time>& time) {
  return time ? static_cast<std::uint64_t>(time->time_since_epoch().count()) : 0;
}

std::optional<base::Time> moment(std::uint64_t microseconds_since_epoch) {
  if (microseconds_since_epoch == 0) return std::nullopt;
  return base::Time(base::Duration(static_cast<std::int64_t>(microseconds_since_epoch)));
}

}  // namespace

repository::LogSection encode_segment_section(const WalSegmentInfo& info, base::Time modified) {
  base::ByteWriter writer;
  writer.u32(info.page_magic);
  writer.u64(info.system_id);
  writer.u32(info.timeline);
  writer.u64(info.start);
  writer.u32(info.segment_size);
  writer.u64(microseconds(modified));
  writer.u64(microseconds(info.first_commit));
  writer.u64(microseconds(info.last_commit));
  writer.u64(info.last_record);
  return {kSegmentSection, writer.take()};
}

ArchivedSegment decode_segment_section(const repository::LogInfo& info, const std::string& object) {
  const base::Bytes* section = info.section(kSegmentSection);
  if (section == nullptr) {
    throw base::Error(base::ErrorKind::kDamaged,
                      fmt::format("{} does not say which WAL it holds", object));
  }
  base::ByteReader reader(*section, object);
  ArchivedSegment segment;
  reader.u32();  // the page magic
  reader.u64();  // the system identifier: part of the object's name
  reader.u32();  // the timeline of its first page
  segment.start = reader.u64();
  segment.segment_size = reader.u32();
  segment.modified = moment(reader.u64()).value_or(base::Time{});
  segment.first_commit = moment(reader.u64());
  segment.last_commit = moment(reader.u64());
  segment.last_record = reader.u64();
  if (!is_segment_size(segment.segment_size)) {
    throw base::Error(
        base::ErrorKind::kDamaged,
        fmt::format("{} gives {} for the size of a segment", object, segment.segment_size));
  }
  return segment;
}

}  // namespace holdfast::postgres
