#include "postgres/table_source.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <algorithm>

#include "base/error.h"
#include "postgres/recovery_window.h"
#include "postgres/replay_path.h"
#include "postgres/restore.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;
using repository::BackupSummary;
using repository::Context;

// Assumptions of the rough time, on the slow side of what is usual.
constexpr std::uint64_t kRestoredBytesPerSecond = 100'000'000;
constexpr std::uint64_t kReplayedSegmentsPerSecond = 10;
constexpr std::uint64_t kLoadedBytesPerSecond = 20'000'000;
// A dump stands there itself, and is then loaded, with indexes.
constexpr std::uint64_t kSpaceOfDump = 3;
// WAL that stands there at a time: the server removes it at the checkpoints that it replays.
constexpr std::uint64_t kMostSegmentsAtOnce = 128;

using Databases = std::vector<std::string>;

bool is_of_users(const std::string& database) {
  return database != "postgres" && database != "template0" && database != "template1";
}

class Search {
 public:
  Search(const Context& context, const TableSourceRequest& request)
      : context_(context), request_(request) {}

  TableSource run() {
    if (request_.backup) return named();
    if (!request_.with_dumps) return physical();
    load_dumps();
    const repository::Catalog catalog = repository::list_backups(context_, request_.component);
    const bool has_physical =
        std::any_of(catalog.backups.begin(), catalog.backups.end(),
                    [](const BackupSummary& backup) { return backup.type == "postgresql"; });
    if (!has_physical && dumps_.empty()) return physical();  // which tells that there is none
    if (has_physical) {
      for (auto backup = catalog.backups.rbegin(); backup != catalog.backups.rend(); ++backup) {
        if (backup->type == "postgresql") {
          add_databases(details_of(*backup));
          break;
        }
      }
    }
    for (const auto& [summary, details] : dumps_) known_.push_back(details.database);
    const std::string database = choose_database();
    if (auto source = dump_of_the_moment(database)) return std::move(*source);
    return has_physical ? physical() : dump_before(database);
  }

 private:
  // The one that the user names.
  TableSource named() {
    repository::BackupRecord record = repository::get_record(context_, *request_.backup);
    if (record.summary.type != kDumpType) return physical();
    if (request_.at) {
      throw Error(ErrorKind::kUsage, "a logical dump is of one moment: --at goes without it",
                  "leave --backup out to have the right one chosen");
    }
    const std::string database = dump_details_of(record.summary).database;
    if (request_.database && *request_.database != database) {
      throw Error(ErrorKind::kUsage, fmt::format("{} is a dump of the database {}, not of {}",
                                                 record.summary.id, database, *request_.database));
    }
    return {.database = database, .plan = {}, .dump = std::move(record), .databases = {}};
  }

  TableSource physical() {
    using Kind = RestoreTarget::Kind;
    RestoreTarget target;
    target.backup = request_.backup;
    if (request_.at) {
      target.kind = Kind::kTime;
      target.time = *request_.at;
    } else if (request_.backup) {
      target.kind = Kind::kEndOfBackup;
    }
    TableSource source;
    source.plan = plan_restore(context_, request_.component, target);
    known_.clear();
    add_databases(source.plan->details);
    source.database = choose_database();
    if (target.kind == Kind::kEndOfBackup) require_known(source);
    // New databases are copies of a template.
    std::set<std::uint32_t> oids;
    bool found = false;
    for (const auto& [oid, name] : source.plan->details.databases) {
      if (name == source.database) found = true;
      if (name == source.database || !is_of_users(name)) oids.insert(oid);
    }
    // Where it came into being after the backup, its template may be any.
    if (found && writes_full_pages(context_, *source.plan)) source.databases = std::move(oids);
    return source;
  }

  // At its end a backup has the databases that it lists, and no other.
  void require_known(const TableSource& source) const {
    if (known_.empty() ||
        std::find(known_.begin(), known_.end(), source.database) != known_.end()) {
      return;
    }
    throw Error(ErrorKind::kNotFound,
                fmt::format("{} has no database {}: there are {}", source.backup().id,
                            source.database, fmt::join(known_, ", ")),
                "--only names another");
  }

  void load_dumps() {
    for (BackupSummary& summary : repository::list_backups(context_).backups) {
      if (summary.type != kDumpType || !summary.component.starts_with(request_.component + ".")) {
        continue;
      }
      DumpDetails details = dump_details_of(summary);
      if (details.tables.empty()) dumps_.emplace_back(std::move(summary), std::move(details));
    }
  }

  void add_databases(const BackupDetails& details) {
    for (const auto& [oid, name] : details.databases) known_.push_back(name);
  }

  std::string choose_database() const {
    if (request_.database) return *request_.database;
    Databases names = known_;
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    if (std::find(names.begin(), names.end(), request_.target_database) != names.end()) {
      return request_.target_database;
    }
    Databases of_users;
    std::copy_if(names.begin(), names.end(), std::back_inserter(of_users), is_of_users);
    if (of_users.size() == 1) return of_users.front();
    if (of_users.empty()) return "postgres";
    throw Error(
        ErrorKind::kUsage,
        fmt::format("which database were the tables in? There are {}", fmt::join(of_users, ", ")),
        "--only DATABASE");
  }

  // What is committed between the two may be in it or not, but nothing of before or after.
  std::optional<TableSource> dump_of_the_moment(const std::string& database) const {
    if (!request_.at) return std::nullopt;
    for (auto dump = dumps_.rbegin(); dump != dumps_.rend(); ++dump) {
      const DumpDetails& details = dump->second;
      if (details.database == database && details.snapshot_from <= *request_.at &&
          *request_.at <= details.snapshot_to) {
        return of_dump(dump->first, database);
      }
    }
    return std::nullopt;
  }

  TableSource dump_before(const std::string& database) const {
    std::string moments;
    for (auto dump = dumps_.rbegin(); dump != dumps_.rend(); ++dump) {
      const DumpDetails& details = dump->second;
      if (details.database != database) continue;
      if (!request_.at || details.snapshot_to <= *request_.at) {
        return of_dump(dump->first, database);
      }
      moments = base::format_time(details.snapshot_to);
    }
    throw Error(ErrorKind::kNotFound,
                moments.empty()
                    ? fmt::format("there is no dump of the database {}", database)
                    : fmt::format("{} is outside of the recovery window: the first dump of {} is "
                                  "of {}",
                                  base::format_time(*request_.at), database, moments),
                "'holdfast list' shows the backups");
  }

  TableSource of_dump(const BackupSummary& summary, const std::string& database) const {
    return {.database = database,
            .plan = {},
            .dump = repository::get_record(context_, summary.id),
            .databases = {}};
  }

  const Context& context_;
  const TableSourceRequest& request_;
  std::vector<std::pair<BackupSummary, DumpDetails>> dumps_;  // whole ones, oldest first
  Databases known_;
};

// How many segments are replayed: up to the first that begins after the moment.
std::uint64_t segments_to_replay(const Context& context, const RestorePlan& plan) {
  using Kind = RestoreTarget::Kind;
  if (plan.target.kind == Kind::kEndOfBackup) return plan.backup_wal.size();
  const BackupDetails& details = plan.details;
  const WalInventory wal = list_wal(context, details.system_id);
  const TimelineHistory history = history_of(wal, plan.target_timeline);
  const ReplayPath path(wal, details, history);
  const std::vector<SegmentName>& segments = path.segments();
  if (plan.target.kind != Kind::kTime) return segments.size();
  const auto end =
      std::partition_point(segments.begin(), segments.end(), [&](const SegmentName& segment) {
        const auto archived =
            stat_segment(context, details.system_id, segment, details.wal_segment_size);
        return !archived || !archived->first_commit || *archived->first_commit <= plan.target.time;
      });
  return static_cast<std::uint64_t>(end - segments.begin());
}

base::Duration seconds(std::uint64_t count) {
  return std::chrono::seconds(static_cast<std::int64_t>(count));
}

}  // namespace

int TableSource::major() const {
  const int version = plan ? plan->details.version_num : dump_details_of(dump->summary).version_num;
  return version / 10000;
}

TableSource find_table_source(const Context& context, const TableSourceRequest& request) {
  return Search(context, request).run();
}

TableSourceNeeds needs_of(const Context& context, const TableSource& source) {
  TableSourceNeeds needs;
  if (source.dump) {
    const std::uint64_t bytes = source.dump->summary.bytes;
    needs.bytes = bytes * kSpaceOfDump;
    needs.time = seconds(bytes / kRestoredBytesPerSecond + bytes / kLoadedBytesPerSecond + 2);
    return needs;
  }
  const RestorePlan& plan = *source.plan;
  const std::uint64_t files = bytes_to_restore(context, plan, source.databases);
  needs.segments = segments_to_replay(context, plan);
  needs.bytes =
      files + std::min(needs.segments, kMostSegmentsAtOnce) * plan.details.wal_segment_size;
  needs.time =
      seconds(files / kRestoredBytesPerSecond + needs.segments / kReplayedSegmentsPerSecond + 2);
  return needs;
}

std::string require_space(const TableSourceNeeds& needs, const fs::path& scratch) {
  struct statvfs space {};
  if (::statvfs(scratch.c_str(), &space) != 0) {
    throw base::system_error(errno, fmt::format("cannot look at {}", scratch.string()));
  }
  const std::uint64_t free = space.f_bavail * space.f_frsize;
  const std::string text =
      fmt::format("about {} in {}, where {} are free", base::format_size(needs.bytes),
                  scratch.string(), base::format_size(free));
  if (free < needs.bytes) {
    throw Error(ErrorKind::kNoSpace, "the tables are taken out of a copy, which needs " + text,
                "another place: `scratch` in the configuration");
  }
  const std::string replay =
      needs.segments == 0 ? "" : fmt::format(", {} WAL segments to replay", needs.segments);
  return fmt::format("it will need {}{}; about {} until the tables can be copied", text, replay,
                     base::format_duration(needs.time));
}

}  // namespace holdfast::postgres
