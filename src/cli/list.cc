#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/backup_view.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/text_table.h"
#include "repository/verify.h"
#include "stack/component.h"

namespace holdfast::cli {
namespace {

using base::Error;
using base::ErrorKind;
using repository::BackupSummary;

// By component, oldest first.
using ByComponent = std::map<std::string, std::vector<BackupSummary>>;

stack::RecoveryWindow window_of(const repository::Context& context,
                                const std::vector<BackupSummary>& backups) {
  if (backups.empty()) return {};
  if (const auto component = stack::find_component(backups.back())) {
    return component->recovery_window(context, backups);
  }
  return {backups.front().finished, backups.back().finished, false};
}

class ListRun {
 public:
  explicit ListRun(Session& session) : session_(session), arguments_(session.arguments()) {}

  int run() {
    const repository::Context& context = session_.repository().context();
    const std::string component =
        arguments_.positional.empty() ? "" : arguments_.positional.front();
    const auto catalog = repository::list_backups(context, component);
    group(catalog.backups, component);
    verified_ = repository::verified_times(context);
    for (const auto& [name, backups] : components_) windows_[name] = window_of(context, backups);
    for (const BackupSummary& backup : catalog.backups) {
      if (!arguments_.has("--job") || backup.job == arguments_.value("--job")) {
        shown_.push_back(backup);
      }
    }
    if (session_.json()) {
      print_document(catalog);
    } else {
      print_tables();
    }
    for (const auto& problem : catalog.damaged) {
      session_.warn(fmt::format("{}: {}", problem.object, problem.what));
    }
    return catalog.damaged.empty() ? kDone : kDamaged;
  }

 private:
  // The configured components too, also those without a backup: that there is none is worth
  // knowing.
  void group(const std::vector<BackupSummary>& backups, const std::string& wanted) {
    for (const BackupSummary& backup : backups) components_[backup.component].push_back(backup);
    for (const auto& component : session_.config().components) {
      if (wanted.empty() || component.name == wanted) components_[component.name];
    }
    if (components_.empty() && !wanted.empty()) session_.config().component(wanted);
  }

  void print_document(const repository::Catalog& catalog) {
    nlohmann::json backups = nlohmann::json::array();
    for (const BackupSummary& backup : shown_) {
      backups.push_back(backup_json(backup, session_.repository_config().name, verified_));
    }
    nlohmann::json windows = nlohmann::json::object();
    for (const auto& [name, window] : windows_) {
      windows[name] = window_json(window);
      if (!arguments_.has("--points")) continue;
      auto& points = windows[name]["points"] = nlohmann::json::array();
      for (const auto& backup : components_[name]) points.push_back(time_json(backup.finished));
    }
    nlohmann::json document = {{"backups", backups}, {"windows", windows}};
    for (const auto& problem : catalog.damaged) {
      document["damaged"].push_back({{"object", problem.object}, {"problem", problem.what}});
    }
    session_.print_json(document);
  }

  void print_tables() {
    TextTable table(
        {"ID", "COMPONENT", "KIND", "JOB", "TIME", ">SIZE", ">STORED", "VERIFIED", "NOTES"});
    for (const BackupSummary& backup : shown_) {
      const auto verified = verified_.find(backup.id);
      table.add({backup.id, backup.component, backup.kind, backup.job.empty() ? "-" : backup.job,
                 short_time(backup.finished), base::format_size(backup.bytes),
                 base::format_size(backup.bytes_stored),
                 verified == verified_.end() ? "no" : short_time(verified->second),
                 backup.warnings.empty() ? "" : "has warnings"});
    }
    session_.print(shown_.empty() ? "no backups" : table.text());
    if (!windows_.empty()) session_.print("\nA restore can go back to");
    for (const auto& [name, window] : windows_) {
      session_.print("  " + window_line(name, window));
      if (!arguments_.has("--points")) continue;
      for (const auto& backup : components_[name]) {
        session_.print(fmt::format("    {}  {}", base::format_time(backup.finished), backup.id));
      }
    }
  }

  Session& session_;
  const Arguments& arguments_;
  ByComponent components_;
  std::map<std::string, stack::RecoveryWindow> windows_;
  VerifiedTimes verified_;
  std::vector<BackupSummary> shown_;
};

}  // namespace

int run_list(Session& session) { return ListRun(session).run(); }

}  // namespace holdfast::cli
