#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/concurrency.h"
#include "base/error.h"
#include "cli/backup_view.h"
#include "cli/commands.h"
#include "cli/error_json.h"
#include "cli/session.h"
#include "cli/text_table.h"
#include "stack/pruning.h"

namespace holdfast::cli {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;

stack::PruningOptions options_from(const Arguments& arguments) {
  stack::PruningOptions options;
  options.dry_run = arguments.has("--dry-run");
  options.wait_for_minimum = arguments.has("--wait-minimum");
  if (const auto grace = arguments.value("--grace")) {
    const auto duration = base::parse_duration(*grace);
    if (!duration || *duration < base::Duration(0)) {
      throw base::Error(base::ErrorKind::kUsage, fmt::format("\"{}\" is no duration", *grace),
                        "a duration looks like 0s, 12h or 2d");
    }
    options.grace = *duration;
  }
  return options;
}

std::string packs_text(const repository::PackTotals& totals) {
  return fmt::format("{} in {} packs", base::format_size(totals.bytes), totals.packs);
}

void print_backups(Session& session, const stack::Pruning& pruning) {
  TextTable table({"BACKUP", "COMPONENT", "JOB", ">AGE", ">SIZE", "", "WHY"});
  for (const auto& [backup, fate] : pruning.backups) {
    const auto& summary = backup.summary;
    table.add({summary.id, summary.component, summary.job.empty() ? "-" : summary.job,
               base::format_duration(pruning.now - backup.ended()),
               base::format_size(summary.bytes), fate.keep ? "keep" : "remove", fate.why});
  }
  session.print(pruning.backups.empty() ? "no backups" : table.text());
}

void print_space(Session& session, const stack::Pruning& pruning, bool dry_run,
                 base::Duration grace) {
  const repository::PruneReport& report = pruning.report;
  session.print(fmt::format("\n{} {} backups and {} WAL files ({})",
                            dry_run ? "To be removed:" : "Removed:", report.backups_removed,
                            report.logs_removed, base::format_size(pruning.logs_bytes)));
  session.print(
      fmt::format("{} {}", dry_run ? "To be freed: " : "Freed: ", packs_text(report.removed)));
  if (report.rewritten.packs > 0) {
    session.print(fmt::format("Of packs that hold little that is needed, {} copied: {} of {}",
                              dry_run ? "to be" : "was", base::format_size(report.bytes_copied),
                              packs_text(report.rewritten)));
  }
  if (report.condemned.packs > 0 && grace > base::Duration(0)) {
    session.print(fmt::format("To be freed by a prune in {} or later: {}",
                              base::format_duration(grace), packs_text(report.condemned)));
  }
  if (report.waiting.packs > 0 && report.next) {
    session.print(fmt::format("To be freed by a prune from {} on: {}", short_time(*report.next),
                              packs_text(report.waiting)));
  }
}

void print_early(Session& session, const stack::Pruning& pruning, bool dry_run) {
  const repository::PruneReport& report = pruning.report;
  if (report.early.packs.packs > 0) {
    session.print(fmt::format(
        "Of what goes, {} {} before the minimum time of their class of storage, which is paid for "
        "until {} all the same: about ${:.2f} (list prices, docs/tiers.md). --wait-minimum keeps "
        "them for backups to use again.",
        packs_text(report.early.packs), dry_run ? "would go" : "go", short_time(*report.early.end),
        report.early.dollars));
  }
  if (report.kept_to_minimum.packs > 0) {
    session.print(
        fmt::format("Needed by nothing, and kept until the minimum time of their class of storage "
                    "is over: {}",
                    packs_text(report.kept_to_minimum)));
  }
}

void print_locked(Session& session, const stack::Pruning& pruning) {
  const bool any = pruning.locked_backups + pruning.locked_logs + pruning.report.locked.packs > 0;
  if (any) {
    session.print(fmt::format(
        "Locked by the store, and left for a later prune: {} backups, {} WAL "
        "files, {}{}",
        pruning.locked_backups, pruning.locked_logs, packs_text(pruning.report.locked),
        pruning.next_unlocked ? "; the first goes from " + short_time(*pruning.next_unlocked)
                              : std::string()));
  }
  if (pruning.coverage) {
    session.print(
        fmt::format("What the backups need is locked until {} at least: {} objects, {} "
                    "of them extended now",
                    short_time(pruning.coverage->until), pruning.coverage->objects,
                    pruning.coverage->extended));
  }
}

void print_uploads(Session& session, const stack::Pruning& pruning, bool dry_run) {
  if (pruning.uploads == 0) return;
  session.print(fmt::format("Unfinished uploads of killed runs {}: {}",
                            dry_run ? "to be removed" : "removed", pruning.uploads));
}

void print_windows(Session& session, const stack::Pruning& pruning) {
  if (!pruning.windows.empty()) session.print("\nA restore can go back then to");
  for (const auto& [name, window] : pruning.windows) {
    session.print("  " + window_line(name, window));
  }
}

json totals_json(const repository::PackTotals& totals) {
  return {{"packs", totals.packs}, {"bytes", totals.bytes}};
}

json early_json(const repository::EarlyRemoval& early) {
  return {{"packs", early.packs.packs},
          {"bytes", early.packs.bytes},
          {"dollars", early.dollars},
          {"paid_until", time_json(early.end)}};
}

json locked_json(const stack::Pruning& pruning) {
  return {{"backups", pruning.locked_backups},
          {"wal", pruning.locked_logs},
          {"packs", pruning.report.locked.packs},
          {"bytes", pruning.report.locked.bytes},
          {"next", time_json(pruning.next_unlocked)}};
}

json coverage_json(const std::optional<repository::Coverage>& coverage) {
  if (!coverage) return nullptr;
  return {{"objects", coverage->objects},
          {"extended", coverage->extended},
          {"until", base::format_time(coverage->until)}};
}

json document_of(const stack::Pruning& pruning, const std::string& repository, bool dry_run) {
  json backups = json::array();
  for (const auto& [backup, fate] : pruning.backups) {
    const auto& summary = backup.summary;
    backups.push_back({{"id", summary.id},
                       {"component", summary.component},
                       {"job", summary.job.empty() ? json(nullptr) : json(summary.job)},
                       {"finished", base::format_time(summary.finished)},
                       {"bytes", summary.bytes},
                       {"keep", fate.keep},
                       {"why", fate.why},
                       {"until", time_json(fate.until)}});
  }
  json windows = json::object();
  for (const auto& [name, window] : pruning.windows) windows[name] = window_json(window);
  const repository::PruneReport& report = pruning.report;
  return {{"repository", repository},
          {"dry_run", dry_run},
          {"backups", backups},
          {"removed",
           {{"backups", report.backups_removed},
            {"wal", report.logs_removed},
            {"wal_bytes", pruning.logs_bytes},
            {"packs", report.removed.packs},
            {"bytes", report.removed.bytes}}},
          {"wal", pruning.logs},
          {"condemned", totals_json(report.condemned)},
          {"rewritten", totals_json(report.rewritten)},
          {"bytes_copied", report.bytes_copied},
          {"waiting", totals_json(report.waiting)},
          {"next", time_json(report.next)},
          {"early", early_json(report.early)},
          {"kept_to_minimum", totals_json(report.kept_to_minimum)},
          {"locked", locked_json(pruning)},
          {"coverage", coverage_json(pruning.coverage)},
          {"uploads", pruning.uploads},
          {"live_bytes", report.live_bytes},
          {"dead_bytes", report.dead_bytes},
          {"windows", windows},
          {"notes", report.notes},
          {"problems", report.problems}};
}

// One repository after the other: what fails in one is told and does not stop the others.
class PruneRun {
 public:
  explicit PruneRun(Session& session)
      : session_(session),
        options_(options_from(session.arguments())),
        repositories_(session.repository_configs(session.all_repositories())) {}

  int run() {
    for (const stack::RepositoryConfig* config : repositories_) {
      try {
        base::throw_if_stopped(session_.stop());
        prune(*config);
      } catch (Error& error) {
        if (repositories_.size() == 1 || error.kind() == ErrorKind::kInterrupted) throw;
        error.add_context("repository " + config->name);
        session_.error(error);
        if (failed_.empty()) first_error_ = error_json(error);
        failed_.push_back({{"repository", config->name}, {"error", error_json(error)}});
      }
    }
    if (session_.json()) print_document();
    if (!failed_.empty()) return kFailed;
    return problems_ ? kAttention : kDone;
  }

 private:
  void prune(const stack::RepositoryConfig& config) {
    const auto repository = session_.open(config);
    const stack::Pruning pruning = [&] {
      const auto progress = session_.progress();
      stack::PruningOptions options = options_;
      options.repository = config.name;
      return stack::prune_repository(repository->context(), session_.config(), options, *progress,
                                     session_.stop());
    }();
    if (repositories_.size() > 1) session_.print(fmt::format("Repository {}:", config.name));
    print_backups(session_, pruning);
    print_space(session_, pruning, options_.dry_run, options_.grace);
    print_early(session_, pruning, options_.dry_run);
    print_locked(session_, pruning);
    print_uploads(session_, pruning, options_.dry_run);
    print_windows(session_, pruning);
    if (repositories_.size() > 1) session_.print("");
    documents_.push_back(document_of(pruning, config.name, options_.dry_run));
    for (const std::string& note : pruning.report.notes) session_.note(note);
    for (const std::string& problem : pruning.report.problems) session_.warn(problem);
    problems_ = problems_ || !pruning.report.problems.empty();
  }

  // The first one's document is the whole one too, as where there is no other.
  void print_document() {
    json document = documents_.empty() ? json::object() : documents_.at(0);
    document["repositories"] = documents_;
    document["failed"] = failed_;
    if (!failed_.empty()) document["error"] = first_error_;
    session_.print_json(document);
  }

  Session& session_;
  const stack::PruningOptions options_;
  const Session::RepositoryConfigs repositories_;
  json documents_ = json::array();
  json failed_ = json::array();
  json first_error_;
  bool problems_ = false;
};

}  // namespace

int run_prune(Session& session) { return PruneRun(session).run(); }

}  // namespace holdfast::cli
