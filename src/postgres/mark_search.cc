#include "postgres/mark_search.h"

#include "postgres/wal_archive.h"

namespace holdfast::postgres {

std::optional<Lsn> MarkSearch::first_on(const ReplayPath& path, const BackupDetails& details) {
  std::optional<Lsn> possible;
  for (const SegmentName& segment : path.segments()) {
    for (const Place& place : places_in(details, segment)) {
      if (place.lsn < details.start_lsn) continue;
      if (place.certain) return place.lsn;
      if (!possible) possible = place.lsn;
    }
  }
  return possible;
}

const MarkSearch::Places& MarkSearch::places_in(const BackupDetails& details,
                                                const SegmentName& segment) {
  const std::string object =
      wal_object_name(details.system_id, format_segment_name(segment, details.wal_segment_size));
  const auto found = found_.find(object);
  if (found != found_.end()) return found->second;
  return found_.emplace(object, look(object)).first->second;
}

// The object's metadata say whether the segment is worth reading.
MarkSearch::Places MarkSearch::look(const std::string& object) {
  const std::optional<repository::LogInfo> info = repository::stat_log(context_, object);
  if (!info) return {};
  const WalMarks marks = decode_marks(*info, object);
  if (!marks.complete || (!name_ && marks.may_hold(xid_))) return read(object);
  Places places;
  for (const RestorePoint& point : marks.restore_points) {
    if (point.name == name_) places.push_back({point.lsn, /*certain=*/true});
  }
  return places;
}

MarkSearch::Places MarkSearch::read(const std::string& object) {
  base::Bytes segment;
  const auto log = repository::read_log(context_, object, [&segment](base::ByteView piece) {
    segment.insert(segment.end(), piece.begin(), piece.end());
  });
  if (!log) return {};
  const WalSegmentInfo info = scan_segment(segment);
  uncertain_ = uncertain_ || !marks_of(info).complete;
  Places places;
  for (const RestorePoint& point : info.restore_points) {
    if (point.name == name_) places.push_back({point.lsn, /*certain=*/true});
  }
  for (const TransactionEnd& end : info.ends) {
    if (!name_ && end.xid == xid_) places.push_back({end.lsn, end.certain});
  }
  return places;
}

}  // namespace holdfast::postgres
