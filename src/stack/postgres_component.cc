#include "stack/postgres_component.h"

#include <fmt/format.h>

#include <charconv>

#include "base/error.h"
#include "postgres/backup.h"
#include "postgres/check.h"
#include "postgres/dump.h"
#include "postgres/recovery_window.h"
#include "postgres/restore.h"
#include "postgres/restore_plan.h"
#include "postgres/server.h"
#include "postgres/table_restore.h"
#include "postgres/wal_retention.h"
#include "stack/coverage.h"

namespace holdfast::stack {
namespace {

using base::Error;
using base::ErrorKind;

Verdict verdict_of(postgres::Verdict verdict) {
  switch (verdict) {
    case postgres::Verdict::kGood:
      return Verdict::kGood;
    case postgres::Verdict::kAttention:
      return Verdict::kAttention;
    case postgres::Verdict::kBad:
      break;
  }
  return Verdict::kBad;
}

bool is_number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && value > 0;
}

// Exactly one of the moments, or none; a backup alone stands for its own end.
postgres::RestoreTarget target_of(const RestoreOptions& options) {
  using Kind = postgres::RestoreTarget::Kind;
  postgres::RestoreTarget target;
  target.backup = options.backup;
  if (options.at) {
    target.kind = Kind::kTime;
    target.time = *options.at;
  } else if (options.lsn) {
    const auto lsn = postgres::parse_lsn(*options.lsn);
    if (!lsn) {
      throw Error(ErrorKind::kUsage, fmt::format("\"{}\" is no LSN", *options.lsn),
                  "an LSN looks like 16/B374D848");
    }
    target.kind = Kind::kLsn;
    target.lsn = *lsn;
  } else if (options.xid) {
    if (!is_number(*options.xid)) {
      throw Error(ErrorKind::kUsage, fmt::format("\"{}\" is no transaction id", *options.xid));
    }
    target.kind = Kind::kXid;
    target.text = *options.xid;
  } else if (options.name) {
    target.kind = Kind::kName;
    target.text = *options.name;
  } else if (options.backup && !options.latest) {
    target.kind = Kind::kEndOfBackup;
  }
  if (!options.timeline.empty()) target.timeline = options.timeline;
  if (!options.action.empty()) target.action = options.action;
  const bool known = target.timeline == "latest" || target.timeline == "current";
  if (!known && !is_number(target.timeline)) {
    throw Error(ErrorKind::kUsage, fmt::format("\"{}\" is no timeline", target.timeline),
                "a timeline is a number, \"current\" or \"latest\"");
  }
  return target;
}

std::string how_to_start(int major, const std::filesystem::path& data_directory) {
  const auto programs = postgres::server_programs(major);
  return fmt::format("start the server as its user: {} -D {} start",
                     programs ? (*programs / "pg_ctl").string() : "pg_ctl",
                     data_directory.string());
}

class PostgresComponent final : public Component {
 public:
  explicit PostgresComponent(const ComponentConfig& config) : config_(config) {}

  repository::BackupSummary take_backup(const repository::Context& context,
                                        const BackupOptions& options, base::Progress& progress,
                                        std::stop_token stop) override {
    repository::BackupSummary backup =
        postgres::take_backup(context,
                              {.component = config_.name,
                               .connection = config_.connection,
                               .job = options.job,
                               .incremental = options.kind == "incremental",
                               .audit_share = options.audit_share.value_or(config_.audit_share),
                               .workers = options.workers,
                               .rate_bytes = options.rate_bytes,
                               .hold_wal = options.hold_wal,
                               .accept_new_system = options.accept_new_system},
                              progress, stop);
    for (std::string& warning : cover_new_backups(context, {backup}, progress, stop)) {
      backup.warnings.push_back(std::move(warning));
    }
    return backup;
  }

  RestoreOutcome restore(const repository::Context& context, const RestoreOptions& options,
                         base::Progress& progress, std::stop_token stop) override {
    if (!options.only.empty()) {
      throw Error(ErrorKind::kUsage, "--only is not for a whole PostgreSQL cluster",
                  "single tables come back by --table SCHEMA.TABLE --into CONNINFO");
    }
    const postgres::RestorePlan plan =
        postgres::plan_restore(context, config_.name, target_of(options));
    for (const std::string& note : plan.notes) progress.note(note);
    const postgres::RestoreResult result =
        postgres::restore_cluster(context, plan,
                                  {.to = options.to,
                                   .tablespaces = options.tablespaces,
                                   .restore_command = options.restore_command,
                                   .delta = options.delta,
                                   .workers = options.workers,
                                   .thaw = options.thaw},
                                  progress, stop);
    RestoreOutcome outcome;
    outcome.backup = plan.record.summary.id;
    outcome.bytes = result.bytes;
    outcome.bytes_written = result.bytes_written;
    outcome.files = result.files;
    outcome.notes = plan.notes;
    if (!options.start) {
      outcome.next_step = how_to_start(plan.details.version_num / 10000, options.to);
      return outcome;
    }
    const auto reached = postgres::start_and_wait(options.to, plan, progress, stop);
    outcome.reached =
        RestoreOutcome::Reached{reached.time, postgres::format_lsn(reached.lsn), reached.server};
    return outcome;
  }

  repository::BackupSummary take_dump(const repository::Context& context,
                                      const DumpOptions& options, base::Progress& progress,
                                      std::stop_token stop) override {
    return postgres::take_dump(context,
                               {.component = config_.name,
                                .connection = config_.connection,
                                .database = options.database,
                                .format = postgres::parse_dump_format(options.format),
                                .tables = options.tables,
                                .parallel = options.parallel,
                                .job = options.job,
                                .scratch = options.scratch},
                               progress, std::move(stop));
  }

  TableRestoreOutcome restore_tables(const repository::Context& context,
                                     const TableRestoreOptions& options, base::Progress& progress,
                                     std::stop_token stop) override {
    const postgres::TableRestoreResult result =
        postgres::restore_tables(context,
                                 {.component = config_.name,
                                  .connection = config_.connection,
                                  .tables = options.tables,
                                  .into = options.into,
                                  .database = options.source,
                                  .backup = options.backup,
                                  .at = options.at,
                                  .rename_suffix = options.rename_suffix,
                                  .replace = options.replace,
                                  .restore_command = options.restore_command,
                                  .scratch = options.scratch,
                                  .workers = options.workers,
                                  .thaw = options.thaw},
                                 progress, stop);
    TableRestoreOutcome outcome{.backup = result.backup,
                                .from_dump = result.from_dump,
                                .tables = {},
                                .database = result.database,
                                .reached = result.reached,
                                .reached_lsn = result.reached_lsn,
                                .notes = result.notes,
                                .warnings = result.warnings};
    for (const postgres::TakenTable& table : result.tables) {
      outcome.tables.push_back(
          {postgres::shown_name(table.source), postgres::shown_name(table.target), table.rows});
    }
    return outcome;
  }

  RecoveryWindow recovery_window(const repository::Context& context,
                                 const std::vector<repository::BackupSummary>& backups) override {
    const auto window = postgres::recovery_window(context, backups);
    return {window.from, window.to, window.continuous, /*has_logs=*/true};
  }

  std::vector<std::string> needed_logs(const repository::BackupSummary& backup) override {
    return postgres::wal_objects_of(backup);
  }

  bool is_good(const repository::BackupSummary& backup) override {
    return postgres::details_of(backup).is_good();
  }

  std::string system_of(const repository::BackupSummary& backup) override {
    return std::to_string(postgres::details_of(backup).system_id);
  }

  LogRemoval logs_to_remove(const repository::Context& context,
                            const LogRetention& retention) override {
    postgres::WalRetention wal{.kept = {},
                               .keep = retention.keep,
                               .now = retention.now,
                               .oldest_run = retention.oldest_run,
                               .other_systems = retention.other_systems};
    for (const auto& [summary, ended] : retention.kept) wal.kept.push_back({summary, ended});
    postgres::WalRemoval removal = postgres::wal_to_remove(context, wal);
    return {std::move(removal.objects), removal.bytes};
  }

  void check(const repository::Context* context, const CheckOptions& options,
             const Findings& report) override {
    const auto pass_on = [&](postgres::Finding found) {
      report({verdict_of(found.verdict), std::move(found.what), std::move(found.detail),
              std::move(found.advice), config_.name});
    };
    try {
      postgres::check_cluster(context,
                              {.component = config_.name,
                               .connection = config_.connection,
                               .archive_command_example = options.archive_command},
                              pass_on);
    } catch (const Error& error) {
      report({Verdict::kBad, "cluster", error.what(), error.hint(), config_.name});
    }
  }

 private:
  ComponentConfig config_;
};

}  // namespace

std::unique_ptr<Component> make_postgres_component(const ComponentConfig& config) {
  return std::make_unique<PostgresComponent>(config);
}

}  // namespace holdfast::stack
