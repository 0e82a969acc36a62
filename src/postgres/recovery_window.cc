#include "postgres/recovery_window.h"

#include <fmt/format.h>

#include <algorithm>

namespace holdfast::postgres {

using repository::Context;

std::optional<WalEnd> end_of_wal(const Context& context, std::uint64_t system_id,
                                 const ReplayPath& path, std::uint32_t segment_size) {
  const std::vector<SegmentName>& segments = path.segments();
  std::optional<WalEnd> end;
  for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
    const std::optional<ArchivedSegment> archived =
        stat_segment(context, system_id, *segment, segment_size);
    if (!archived) continue;
    if (!end) end = WalEnd{archived->modified, std::nullopt, archived->last_record};
    if (end->last_record == 0) end->last_record = archived->last_record;
    if (archived->last_commit) {
      end->last_commit = archived->last_commit;
      end->time = std::max(end->time, *archived->last_commit);
      break;
    }
  }
  return end;
}

RecoveryWindow recovery_window(const Context& context,
                               const std::vector<repository::BackupSummary>& backups) {
  RecoveryWindow window;
  if (backups.empty()) return window;
  const BackupDetails newest = details_of(backups.back());
  const WalInventory wal = list_wal(context, newest.system_id);
  const TimelineHistory history = latest_history(wal, newest);
  const ReplayPath path(wal, newest, history);
  window.from = newest.stop_time;
  window.to = newest.stop_time;
  if (!path.covers_backup()) return window;

  const std::uint64_t reach = path.segments().back().number;
  if (const auto end = end_of_wal(context, newest.system_id, path, newest.wal_segment_size)) {
    window.to = std::max(newest.stop_time, end->time);
    window.continuous = true;
  }
  for (auto backup = backups.rbegin(); backup != backups.rend(); ++backup) {
    const BackupDetails details = details_of(*backup);
    if (details.system_id != newest.system_id) break;
    if (!history.contains(details.timeline, details.stop_lsn)) continue;
    const ReplayPath from(wal, details, history);
    if (from.segments().empty() || from.segments().back().number < reach) continue;
    window.from = details.stop_time;
  }
  return window;
}

std::string describe(const RecoveryWindow& window) {
  if (!window.from || !window.to) return "empty: there is no backup";
  return fmt::format("{} to {}", base::format_time(*window.from), base::format_time(*window.to));
}

}  // namespace holdfast::postgres
