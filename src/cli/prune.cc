#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/backup_view.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/text_table.h"
#include "stack/pruning.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;

stack::PruningOptions options_from(const Arguments& arguments) {
  stack::PruningOptions options;
  options.dry_run = arguments.has("--dry-run");
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

void print_windows(Session& session, const stack::Pruning& pruning) {
  if (!pruning.windows.empty()) session.print("\nA restore can go back then to");
  for (const auto& [name, window] : pruning.windows) {
    session.print("  " + window_line(name, window));
  }
}

json totals_json(const repository::PackTotals& totals) {
  return {{"packs", totals.packs}, {"bytes", totals.bytes}};
}

json document_of(const stack::Pruning& pruning, bool dry_run) {
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
  return {{"dry_run", dry_run},
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
          {"live_bytes", report.live_bytes},
          {"dead_bytes", report.dead_bytes},
          {"windows", windows},
          {"notes", report.notes},
          {"problems", report.problems}};
}

}  // namespace

int run_prune(Session& session) {
  const stack::PruningOptions options = options_from(session.arguments());
  const stack::Pruning pruning = [&] {
    const auto progress = session.progress();
    return stack::prune_repository(session.repository().context(), session.config(), options,
                                   *progress, session.stop());
  }();
  print_backups(session, pruning);
  print_space(session, pruning, options.dry_run, options.grace);
  print_windows(session, pruning);
  if (session.json()) session.print_json(document_of(pruning, options.dry_run));
  for (const std::string& note : pruning.report.notes) session.note(note);
  for (const std::string& problem : pruning.report.problems) session.warn(problem);
  return pruning.report.problems.empty() ? kDone : kAttention;
}

}  // namespace holdfast::cli
