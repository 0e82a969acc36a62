#include "postgres/changes_between.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/file.h"
#include "postgres/segment_changes.h"
#include "postgres/segment_section.h"
#include "postgres/timeline.h"
#include "postgres/wal_archive.h"
#include "postgres/wal_segment.h"
#include "repository/log_object.h"

namespace holdfast::postgres {
namespace {

using repository::Context;

// Of what lies between two backups. 16 TiB of WAL in segments of 16 MiB.
constexpr std::uint64_t kMostSegments = std::uint64_t{1} << 20;
constexpr std::size_t kLargestHistory = std::size_t{1} << 20;

// Joins maps of about the same size, so that none is copied more than a few times.
class Joiner {
 public:
  void add(ChangeMap map) {
    std::size_t weight = 1;
    while (!pending_.empty() && pending_.back().second <= weight) {
      weight += pending_.back().second;
      fold(map);
    }
    pending_.emplace_back(std::move(map), weight);
  }
  ChangeMap take() {
    ChangeMap map;
    while (!pending_.empty()) fold(map);
    return map;
  }

 private:
  void fold(ChangeMap& map) {
    pending_.back().first.add(map);
    map = std::move(pending_.back().first);
    pending_.pop_back();
  }

  std::vector<std::pair<ChangeMap, std::size_t>> pending_;  // and of how many maps each is
};

base::Bytes history_text(const Context& context, const WalStretch& stretch) {
  const std::string name = history_file_name(stretch.to_timeline);
  try {
    const auto stored = stat_log(context, wal_object_name(stretch.system_id, name));
    if (stored) return stored->inline_content;
  } catch (const base::Error& error) {
    if (error.kind() != base::ErrorKind::kDamaged) throw;
  }
  return base::read_file(stretch.data_directory / "pg_wal" / name, kLargestHistory);
}

// Of the timeline on which the stretch ends; nullopt where it cannot be had.
std::optional<TimelineHistory> history_of(const Context& context, const WalStretch& stretch) {
  if (stretch.to_timeline == stretch.from_timeline) return TimelineHistory(stretch.to_timeline);
  try {
    const base::Bytes text = history_text(context, stretch);
    return TimelineHistory::parse(stretch.to_timeline, base::as_text(text));
  } catch (const base::Error& error) {
    if (error.kind() == base::ErrorKind::kUnavailable) throw;
    return std::nullopt;
  }
}

// The maps of the stretch, looked up by many threads.
class Gathering {
 public:
  Gathering(const Context& context, const WalStretch& stretch, const TimelineHistory& history)
      : context_(context),
        stretch_(stretch),
        history_(history),
        first_(segment_number(stretch.from, stretch.segment_size)),
        parts_(segment_number_before(stretch.to, stretch.segment_size) + 1 - first_) {}

  Changes run(int threads, const std::stop_token& stop);

 private:
  struct Gap {
    std::size_t part = SIZE_MAX;
    std::string why;
  };

  void work(const std::stop_token& stop);
  std::optional<SegmentChanges> look_up(std::size_t part, std::string& why) const;
  std::optional<SegmentChanges> archived(std::size_t part, std::string& why) const;
  std::optional<SegmentChanges> scanned(std::size_t part) const;
  std::size_t bytes_needed(std::size_t part) const;
  bool covers(std::size_t part, const SegmentChanges& changes) const;
  void join_parts(Changes& result) const;

  // As the server looks (XLogFileReadAnyTLI in access/transam/xlogrecovery.c): of the timelines on
  // the path the newest that begins before the segment ends. It has a copy of what is older there.
  SegmentName name_of(std::size_t part) const {
    const std::uint64_t number = first_ + part;
    return {history_.timeline_of(segment_start(number + 1, stretch_.segment_size) - 1), number};
  }
  std::string file_of(std::size_t part) const {
    return format_segment_name(name_of(part), stretch_.segment_size);
  }

  const Context& context_;
  const WalStretch& stretch_;
  const TimelineHistory& history_;
  const std::uint64_t first_;          // number of the first segment
  std::vector<SegmentChanges> parts_;  // each without its map; written by the thread that has it
  std::atomic<std::size_t> next_{0};
  std::atomic<std::size_t> end_{SIZE_MAX};  // no part from here on is of use: there is a gap
  base::Guarded<Gap> gap_;                  // the first
  base::Guarded<Joiner> map_;
};

Changes Gathering::run(int threads, const std::stop_token& stop) {
  base::WorkerGroup workers(stop);
  const auto useful = std::min(parts_.size(), static_cast<std::size_t>(std::max(threads, 1)));
  for (std::size_t i = 0; i < useful; ++i) {
    workers.start([this](const std::stop_token& stopped) { work(stopped); });
  }
  workers.join();
  base::throw_if_stopped(stop);
  Changes result;
  result.gap = gap_.lock()->why;
  if (result.gap.empty()) {
    result.segments = parts_.size();
    result.map = map_.lock()->take();
    join_parts(result);
  }
  return result;
}

void Gathering::work(const std::stop_token& stop) {
  Joiner joiner;
  for (std::size_t part = next_++; part < std::min(parts_.size(), end_.load()); part = next_++) {
    base::throw_if_stopped(stop);
    std::string why;
    std::optional<SegmentChanges> changes = look_up(part, why);
    if (!changes) {
      auto gap = gap_.lock();
      if (part < gap->part) *gap = {part, std::move(why)};
      end_ = gap->part;
      continue;
    }
    joiner.add(std::exchange(changes->map, {}));
    parts_[part] = std::move(*changes);
  }
  ChangeMap map = joiner.take();
  map_.lock()->add(std::move(map));
}

std::optional<SegmentChanges> Gathering::look_up(std::size_t part, std::string& why) const {
  // What the server itself is writing to comes first: that it goes on where the archive ends shows
  // that both are of one history.
  const bool is_last = part + 1 == parts_.size();
  std::optional<SegmentChanges> changes = is_last ? scanned(part) : archived(part, why);
  if (changes) return changes;
  return is_last ? archived(part, why) : scanned(part);
}

std::optional<SegmentChanges> Gathering::archived(std::size_t part, std::string& why) const {
  const std::string file = file_of(part);
  const std::string object = wal_object_name(stretch_.system_id, file);
  try {
    const std::optional<repository::LogInfo> info = repository::stat_log(context_, object);
    if (!info) {
      why = fmt::format("the WAL segment {} is neither in the repository nor in pg_wal", file);
      return std::nullopt;
    }
    const ArchivedSegment segment = decode_segment_section(*info, object);
    std::optional<SegmentChanges> changes = decode_changes(*info, object);
    if (!changes) {
      why = fmt::format("the WAL segment {} was archived without a change map", file);
    } else if (segment.segment_size != stretch_.segment_size ||
               segment.start != segment_start(first_ + part, stretch_.segment_size)) {
      why = fmt::format("the archived WAL segment {} holds other WAL than its name says", file);
      changes.reset();
    } else if (!covers(part, *changes)) {
      why = fmt::format("the change map of the WAL segment {} ends at {}", file,
                        format_lsn(changes->covered_to));
      changes.reset();
    }
    return changes;
  } catch (const base::Error& error) {
    if (error.kind() != base::ErrorKind::kDamaged) throw;
    why = fmt::format("the change map of the WAL segment {} is damaged", file);
    return std::nullopt;
  }
}

// The server may be writing to the file, or may have renamed it for later use: only what the file
// says of itself counts.
std::optional<SegmentChanges> Gathering::scanned(std::size_t part) const {
  const std::uint32_t size = stretch_.segment_size;
  try {
    base::Bytes content(bytes_needed(part));
    const std::filesystem::path path = stretch_.data_directory / "pg_wal" / file_of(part);
    const base::UniqueFd fd = base::open_file(path, O_RDONLY);
    content.resize(base::read_at(fd.get(), 0, content, path));
    SegmentChanges changes;
    const WalSegmentInfo info = scan_segment(content, changes);
    if (info.system_id == stretch_.system_id && info.segment_size == size &&
        info.start == segment_start(first_ + part, size) &&
        info.timeline <= name_of(part).timeline && covers(part, changes)) {
      return changes;
    }
  } catch (const base::Error&) {  // not there, or no WAL
  }
  return std::nullopt;
}

// Of the last segment what lies before the end of the stretch, and the pages into which a record
// there may reach.
std::size_t Gathering::bytes_needed(std::size_t part) const {
  constexpr std::uint64_t kReach = 128 * 1024;
  const Lsn start = segment_start(first_ + part, stretch_.segment_size);
  return std::min<std::uint64_t>(stretch_.segment_size, stretch_.to + kReach - start);
}

bool Gathering::covers(std::size_t part, const SegmentChanges& changes) const {
  const Lsn end = segment_start(first_ + part + 1, stretch_.segment_size);
  return changes.covered_to >= std::min(end, stretch_.to);
}

// What begins before the stretch or behind it does not count, so neither do the cuts at its ends.
void Gathering::join_parts(Changes& result) const {
  for (std::size_t part = 0; part + 1 < parts_.size(); ++part) {
    const SegmentJoin join = join_segments(parts_[part], parts_[part + 1], result.map);
    if (join == SegmentJoin::kDone) continue;
    result.diverged = join == SegmentJoin::kForeign;
    const std::string earlier = file_of(part);
    const std::string later = file_of(part + 1);
    result.gap =
        result.diverged
            ? fmt::format("the WAL segment {} does not go on where {} ends", later, earlier)
            : fmt::format("too little is known of the record between the WAL segments {} and {}",
                          earlier, later);
    result.map = {};
    return;
  }
}

Changes diverged(std::string why) {
  Changes changes;
  changes.gap = std::move(why);
  changes.diverged = true;
  return changes;
}

}  // namespace

Changes changes_between(const Context& context, const WalStretch& stretch, int threads,
                        std::stop_token stop) {
  const std::optional<TimelineHistory> history = history_of(context, stretch);
  if (!history) {
    return diverged(fmt::format("the history of timeline {} cannot be read", stretch.to_timeline));
  }
  if (stretch.to < stretch.from ||
      !history->contains(stretch.from_timeline, stretch.previous_stop)) {
    return diverged(
        fmt::format("the backup before ended at {} of timeline {}, from where no way leads to {} "
                    "of timeline {}",
                    format_lsn(stretch.previous_stop), stretch.from_timeline,
                    format_lsn(stretch.to), stretch.to_timeline));
  }
  if ((stretch.to - stretch.from) / stretch.segment_size >= kMostSegments) {
    Changes changes;
    changes.gap = "too much WAL lies between the backups";
    return changes;
  }
  return Gathering(context, stretch, *history).run(threads, stop);
}

}  // namespace holdfast::postgres
