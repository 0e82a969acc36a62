#include "postgres/restore_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "base/error.h"
#include "postgres/backup_wal.h"
#include "postgres/mark_search.h"
#include "postgres/recovery_window.h"

namespace holdfast::postgres {
namespace {

using base::Error;
using base::ErrorKind;
using repository::BackupSummary;
using repository::Context;
using Kind = RestoreTarget::Kind;

// "000000010000000000000004, 000000010000000000000005 and 12 more".
std::string join_names(const std::vector<SegmentName>& segments, std::uint32_t segment_size) {
  constexpr std::size_t kNamed = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(segments.size(), kNamed); ++i) {
    text += (i == 0 ? "" : ", ") + format_segment_name(segments[i], segment_size);
  }
  if (segments.size() > kNamed) text += fmt::format(" and {} more", segments.size() - kNamed);
  return text;
}

// As the server reads recovery_target_time: with a zone, to the microsecond.
std::string server_time(base::Time time) {
  std::string text = base::format_time(time);
  std::replace(text.begin(), text.end(), 'T', ' ');
  text.pop_back();
  return text + "+00";
}

std::uint32_t xid_of(const std::string& text) {
  std::uint32_t xid = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), xid);
  if (problem != std::errc{} || end != text.data() + text.size() || xid == 0) {
    throw Error(ErrorKind::kUsage, fmt::format("\"{}\" is no transaction id", text));
  }
  return xid;
}

class Planner {
 public:
  Planner(const Context& context, const std::string& component, const RestoreTarget& target)
      : context_(context), component_(component) {
    plan_.target = target;
    if (target.kind == Kind::kXid) search_.emplace(context, xid_of(target.text));
    if (target.kind == Kind::kName) search_.emplace(context, target.text);
  }

  RestorePlan run() {
    load_backups();
    plan_.record = repository::get_record(context_, choose_backup());
    plan_.details = details_of(plan_.record.summary);
    wal_ = &inventory(plan_.details.system_id);
    const TimelineHistory history = choose_history(*wal_, plan_.details);
    plan_.target_timeline = history.timeline();
    const ReplayPath path(*wal_, plan_.details, history);
    require_backup_wal(path);
    settle_target(path);
    collect_histories(history);
    if (plan_.target.timeline == "latest" && plan_.target_timeline != plan_.details.timeline) {
      plan_.notes.push_back(
          fmt::format("it follows timeline {}, which branched off after the backup (timeline {}); "
                      "'holdfast wal list' shows where, --timeline current stays",
                      plan_.target_timeline, plan_.details.timeline));
    }
    plan_.settings.emplace_back("recovery_target_timeline", std::to_string(plan_.target_timeline));
    if (plan_.target.kind != Kind::kEndOfWal) {
      plan_.settings.emplace_back("recovery_target_action", plan_.target.action);
    }
    return std::move(plan_);
  }

 private:
  void load_backups() {
    repository::Catalog catalog = repository::list_backups(context_, component_);
    std::erase_if(catalog.backups,
                  [](const BackupSummary& backup) { return backup.type != "postgresql"; });
    if (catalog.backups.empty()) {
      throw Error(ErrorKind::kNotFound,
                  fmt::format("there is no backup of {} in the repository", component_),
                  fmt::format("'holdfast backup {}' takes one", component_));
    }
    backups_ = std::move(catalog.backups);
  }

  const WalInventory& inventory(std::uint64_t system_id) {
    const auto found = inventories_.find(system_id);
    if (found != inventories_.end()) return found->second;
    return inventories_.emplace(system_id, list_wal(context_, system_id)).first->second;
  }

  std::string choose_backup() {
    const RestoreTarget& target = plan_.target;
    if (target.backup) return *target.backup;
    if (search_) {
      std::vector<SegmentName> gap;
      if (const auto id = find_backup_before_mark(gap)) return *id;
      plan_.details = details_of(backups_.back());
      if (!gap.empty()) throw missing_wal(gap);
      if (!search_->is_uncertain()) throw no_mark();
    }
    for (auto backup = backups_.rbegin(); backup != backups_.rend(); ++backup) {
      if (is_before_target(details_of(*backup))) return backup->id;
    }
    if (target.kind == Kind::kTime || target.kind == Kind::kLsn) throw outside_window();
    throw Error(ErrorKind::kNotFound,
                fmt::format("no backup of {} lies on timeline {}", component_, target.timeline),
                "'holdfast wal list' shows the timelines");
  }

  // The newest backup that is followed by what the target names. Where none is, it may be in the
  // WAL that is missing, of which `gap` then is the newest.
  std::optional<std::string> find_backup_before_mark(std::vector<SegmentName>& gap) {
    for (auto backup = backups_.rbegin(); backup != backups_.rend(); ++backup) {
      const BackupDetails details = details_of(*backup);
      if (!is_before_target(details)) continue;
      const WalInventory& wal = inventory(details.system_id);
      const TimelineHistory history = choose_history(wal, details);
      const ReplayPath path(wal, details, history);
      const std::optional<Lsn> lsn = search_->first_on(path, details);
      if (lsn && *lsn >= details.stop_lsn) return backup->id;
      if (gap.empty()) gap = path.gap();
    }
    return std::nullopt;
  }

  // Whether that backup can be brought forward to the target, on its timeline.
  bool is_before_target(const BackupDetails& details) {
    const RestoreTarget& target = plan_.target;
    if (target.kind == Kind::kTime && details.stop_time > target.time) return false;
    if (target.kind == Kind::kLsn && details.stop_lsn > target.lsn) return false;
    const std::optional<std::uint32_t> timeline = numbered_timeline();
    return !timeline || *timeline == details.timeline ||
           history_of(inventory(details.system_id), *timeline)
               .contains(details.timeline, details.stop_lsn);
  }

  std::optional<std::uint32_t> numbered_timeline() const {
    const std::string& text = plan_.target.timeline;
    if (text == "latest" || text == "current") return std::nullopt;
    std::uint32_t timeline = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), timeline);
    if (problem != std::errc{} || end != text.data() + text.size() || timeline == 0) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("--timeline takes a number, 'current' or 'latest', not '{}'", text));
    }
    return timeline;
  }

  TimelineHistory choose_history(const WalInventory& wal, const BackupDetails& details) const {
    if (plan_.target.timeline == "latest") return latest_history(wal, details);
    const std::uint32_t timeline = numbered_timeline().value_or(details.timeline);
    TimelineHistory history = history_of(wal, timeline);
    if (!history.contains(details.timeline, details.stop_lsn)) {
      const bool known =
          wal.timelines.contains(timeline) && (timeline == 1 || wal.timelines.at(timeline).history);
      throw Error(ErrorKind::kNotFound,
                  fmt::format("{} (timeline {}, {}) cannot be brought to timeline {}: {}",
                              plan_.record.summary.id, details.timeline,
                              format_lsn(details.stop_lsn), timeline,
                              known ? "it is not on that timeline's history"
                                    : history_file_name(timeline) + " is not in the repository"),
                  "'holdfast wal list' shows the timelines and where they branch off");
    }
    return history;
  }

  Error outside_window() const {
    const RestoreTarget& target = plan_.target;
    const std::string what =
        target.kind == Kind::kTime ? base::format_time(target.time) : format_lsn(target.lsn);
    return Error(ErrorKind::kNotFound,
                 fmt::format("{} is outside of the recovery window of {}, which is {}", what,
                             component_, describe(recovery_window(context_, backups_))),
                 "'holdfast list' shows the backups and the window");
  }

  // "transaction 731".
  std::string mark() const {
    const RestoreTarget& target = plan_.target;
    return target.kind == Kind::kXid ? "transaction " + target.text
                                     : fmt::format("restore point \"{}\"", target.text);
  }

  Error no_mark() const {
    return Error(
        ErrorKind::kNotFound,
        fmt::format("no {} that a backup of {} can be brought to is in the archived WAL; the "
                    "recovery window is {}",
                    mark(), component_, describe(recovery_window(context_, backups_))),
        plan_.target.kind == Kind::kXid
            ? "a transaction is found by its top-level number, once it has committed or aborted "
              "and the WAL segment with its end has been archived"
            : "it is found once the WAL segment that it stands in has been archived");
  }

  Error missing_wal(const std::vector<SegmentName>& missing) const {
    return Error(ErrorKind::kDamaged,
                 fmt::format("WAL that this restore needs is not in the repository: {}",
                             join_names(missing, plan_.details.wal_segment_size)),
                 "if the server still has it in pg_wal, 'holdfast wal push PATH' brings it; a "
                 "moment before the gap, or a backup after it, can be restored");
  }

  void require_backup_wal(const ReplayPath& path) {
    const BackupDetails& details = plan_.details;
    plan_.backup_wal = segments_between(details.timeline, details.start_lsn, details.stop_lsn,
                                        details.wal_segment_size);
    std::vector<SegmentName> missing;
    for (const SegmentName& segment : plan_.backup_wal) {
      if (!wal_->has(segment)) missing.push_back(segment);
    }
    if (!missing.empty() || !path.covers_backup()) throw missing_wal(missing);
  }

  void settle_target(const ReplayPath& path) {
    switch (plan_.target.kind) {
      case Kind::kEndOfBackup:
        plan_.settings.emplace_back("recovery_target", "immediate");
        return;
      case Kind::kEndOfWal:
        if (const auto gap = path.gap(); !gap.empty()) throw missing_wal(gap);
        if (plan_.target.action != "promote") {
          plan_.notes.push_back("at the end of the WAL the server always promotes");
        }
        return;
      case Kind::kTime:
        settle_time(path);
        return;
      case Kind::kLsn:
        settle_lsn(path);
        return;
      case Kind::kXid:
        settle_mark(path);
        plan_.settings.emplace_back("recovery_target_xid", plan_.target.text);
        return;
      case Kind::kName:
        settle_mark(path);
        plan_.settings.emplace_back("recovery_target_name", plan_.target.text);
        return;
    }
  }

  // The server stops before the first transaction that ended after the time, and fails where there
  // is none: between the last transaction and the end of the WAL the target is the last record
  // instead.
  void settle_time(const ReplayPath& path) {
    const base::Time time = plan_.target.time;
    if (time < plan_.details.stop_time) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{} is before the end of {} ({}): a backup cannot go back",
                              base::format_time(time), plan_.record.summary.id,
                              base::format_time(plan_.details.stop_time)),
                  "leave --backup out to have the right one chosen");
    }
    const auto end =
        end_of_wal(context_, plan_.details.system_id, path, plan_.details.wal_segment_size);
    if (end && end->last_commit && time < *end->last_commit) {
      plan_.settings.emplace_back("recovery_target_time", server_time(time));
      return;
    }
    if (const auto gap = path.gap(); !gap.empty()) throw missing_wal(gap);
    if (!end || time > end->time) throw outside_window();
    if (end->last_record == 0 || end->last_record < plan_.details.stop_lsn) {
      plan_.settings.emplace_back("recovery_target", "immediate");
    } else {
      plan_.settings.emplace_back("recovery_target_lsn", format_lsn(end->last_record));
    }
    plan_.notes.push_back(
        fmt::format("no transaction ended between {} and the end of the archived WAL",
                    base::format_time(time)));
  }

  void settle_lsn(const ReplayPath& path) {
    const std::uint32_t size = plan_.details.wal_segment_size;
    const Lsn lsn = plan_.target.lsn;
    if (lsn < plan_.details.stop_lsn) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format("{} is before the end of {} ({}): a backup cannot go back", format_lsn(lsn),
                      plan_.record.summary.id, format_lsn(plan_.details.stop_lsn)),
          "leave --backup out to have the right one chosen");
    }
    const std::uint64_t number = segment_number(lsn, size);
    if (path.segments().back().number < number) {
      if (const auto gap = path.gap(); !gap.empty()) throw missing_wal(gap);
      throw outside_window();
    }
    const auto end = end_of_wal(context_, plan_.details.system_id, path, size);
    if (end && lsn > end->last_record && path.segments().back().number == number) {
      throw outside_window();
    }
    plan_.settings.emplace_back("recovery_target_lsn", format_lsn(lsn));
  }

  void settle_mark(const ReplayPath& path) {
    const std::optional<Lsn> lsn = search_->first_on(path, plan_.details);
    if (lsn && *lsn >= plan_.details.stop_lsn) return;
    std::vector<SegmentName> gap = path.gap();
    if (plan_.target.backup && (lsn || find_backup_before_mark(gap))) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{} is before the end of {} ({}): a backup cannot go back", mark(),
                              *plan_.target.backup, format_lsn(plan_.details.stop_lsn)),
                  "leave --backup out to have the right one chosen");
    }
    if (!gap.empty()) throw missing_wal(gap);
    if (lsn || !search_->is_uncertain()) throw no_mark();
    plan_.notes.push_back(fmt::format(
        "not all of the archived WAL could be looked through for {}: if the server does "
        "not find it, its recovery fails at the end of the WAL",
        mark()));
  }

  void collect_histories(const TimelineHistory& history) {
    if (history.timeline() == 1) return;
    const bool archived = wal_->timelines.contains(history.timeline()) &&
                          wal_->timelines.at(history.timeline()).history;
    if (archived) {
      plan_.history_files.push_back(history_file_name(history.timeline()));
    } else {
      throw Error(ErrorKind::kDamaged,
                  fmt::format("the timeline history {}, which this restore needs, is not in the "
                              "repository",
                              history_file_name(history.timeline())),
                  "if the server still has it in pg_wal, 'holdfast wal push PATH' brings it");
    }
  }

  const Context& context_;
  const std::string& component_;
  std::vector<BackupSummary> backups_;
  std::map<std::uint64_t, WalInventory> inventories_;
  const WalInventory* wal_ = nullptr;
  std::optional<MarkSearch> search_;  // for targets that have to be found in the WAL
  RestorePlan plan_;
};

}  // namespace

RestorePlan plan_restore(const Context& context, const std::string& component,
                         const RestoreTarget& target) {
  return Planner(context, component, target).run();
}

std::vector<std::string> wal_objects_of(const BackupSummary& summary) {
  if (summary.type != "postgresql") return {};
  const BackupDetails details = details_of(summary);
  std::vector<std::string> objects;
  for (const SegmentName& segment : segments_between(details.timeline, details.start_lsn,
                                                     details.stop_lsn, details.wal_segment_size)) {
    objects.push_back(
        wal_object_name(details.system_id, format_segment_name(segment, details.wal_segment_size)));
  }
  if (details.timeline > 1) {
    objects.push_back(wal_object_name(details.system_id, history_file_name(details.timeline)));
  }
  return objects;
}

}  // namespace holdfast::postgres
