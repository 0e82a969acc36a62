#include "postgres/replay_path.h"

#include <algorithm>

namespace holdfast::postgres {
namespace {

// What one message names at most: a gap can be of thousands.
constexpr std::size_t kMostMissing = 1000;

}  // namespace

ReplayPath::ReplayPath(const WalInventory& wal, const BackupDetails& details,
                       const TimelineHistory& history)
    : wal_(wal), details_(details), history_(history) {
  for (std::uint64_t n = segment_number(details.start_lsn, details.wal_segment_size);; ++n) {
    const std::optional<SegmentName> segment = find(n);
    if (!segment) break;
    segments_.push_back(*segment);
  }
}

// As the server looks (XLogFileReadAnyTLI in access/transam/xlogrecovery.c): the newest timeline
// that has begun in or before the segment; after a switch its first segment begins with a copy of
// the older one.
std::optional<SegmentName> ReplayPath::find(std::uint64_t number) const {
  const std::uint32_t size = details_.wal_segment_size;
  const auto present = [&](std::uint32_t timeline) -> std::optional<SegmentName> {
    const std::optional<Lsn> start = history_.start_of(timeline);
    if (!start || segment_number(*start, size) > number) return std::nullopt;
    const std::optional<Lsn> end = history_.end_of(timeline);
    if (end && segment_number_before(*end, size) < number) return std::nullopt;
    const SegmentName segment{timeline, number};
    return wal_.has(segment) ? std::optional(segment) : std::nullopt;
  };
  if (const auto found = present(history_.timeline())) return found;
  const auto& parents = history_.parents();
  for (auto parent = parents.rbegin(); parent != parents.rend(); ++parent) {
    if (const auto found = present(parent->parent)) return found;
  }
  return std::nullopt;
}

SegmentName ReplayPath::expected(std::uint64_t number) const {
  const Lsn end = segment_start(number + 1, details_.wal_segment_size) - 1;
  return {history_.timeline_of(end), number};
}

bool ReplayPath::covers_backup() const {
  return !segments_.empty() &&
         segments_.back().number >=
             segment_number_before(details_.stop_lsn, details_.wal_segment_size);
}

std::vector<SegmentName> ReplayPath::gap() const {
  const auto timeline = wal_.timelines.find(history_.timeline());
  if (timeline == wal_.timelines.end() || timeline->second.runs.empty()) return {};
  return missing_up_to(timeline->second.runs.back().second);
}

std::vector<SegmentName> ReplayPath::missing_up_to(std::uint64_t number) const {
  std::vector<SegmentName> missing;
  const std::uint64_t first = segment_number(details_.start_lsn, details_.wal_segment_size);
  for (std::uint64_t n = first; n <= number && missing.size() < kMostMissing; ++n) {
    if (!find(n)) missing.push_back(expected(n));
  }
  return missing;
}

TimelineHistory history_of(const WalInventory& wal, std::uint32_t timeline) {
  const auto found = wal.timelines.find(timeline);
  if (found != wal.timelines.end() && found->second.history) return *found->second.history;
  return TimelineHistory(timeline);
}

TimelineHistory latest_history(const WalInventory& wal, const BackupDetails& details) {
  for (auto timeline = wal.timelines.rbegin(); timeline != wal.timelines.rend(); ++timeline) {
    if (timeline->first <= details.timeline) break;
    TimelineHistory history = history_of(wal, timeline->first);
    if (history.contains(details.timeline, details.stop_lsn)) return history;
  }
  return history_of(wal, details.timeline);
}

}  // namespace holdfast::postgres
