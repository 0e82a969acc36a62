#include <fmt/format.h>

#include <algorithm>
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
  return {.from = backups.front().finished, .to = backups.back().finished};
}

// A backup, and where it is.
struct Listed {
  BackupSummary backup;
  std::string repository;
};

class ListRun {
 public:
  explicit ListRun(Session& session) : session_(session), arguments_(session.arguments()) {
    if (!arguments_.positional.empty()) wanted_ = arguments_.positional.front();
  }

  int run() {
    for (const stack::RepositoryConfig* repository : repositories()) read(*repository);
    if (components_.empty() && !wanted_.empty()) session_.config().component_or_dump(wanted_);
    if (session_.json()) {
      print_document();
    } else {
      print_tables();
    }
    for (const auto& problem : damaged_) {
      session_.warn(fmt::format("{}: {}", problem.object, problem.what));
    }
    return damaged_.empty() ? kDone : kDamaged;
  }

 private:
  // The default one, and where components are that do not go there.
  Session::RepositoryConfigs repositories() {
    if (!wanted_.empty()) session_.prefer_repository_of(wanted_);
    Session::RepositoryConfigs result = {&session_.repository_config()};
    if (arguments_.value("--repository") || !wanted_.empty()) return result;
    for (const auto& component : session_.config().components) {
      if (component.repositories.empty()) continue;
      const auto* own = &session_.config().repository(component.repositories.front());
      if (std::find(result.begin(), result.end(), own) == result.end()) result.push_back(own);
    }
    return result;
  }

  bool is_wanted(const BackupSummary& backup) const {
    return wanted_.empty() || backup.component == wanted_ ||
           (backup.type == "dump" && backup.component.starts_with(wanted_ + "."));
  }

  void read(const stack::RepositoryConfig& config) {
    const auto repository = session_.open(config);
    const repository::Context& context = repository->context();
    const auto catalog = repository::list_backups(context);
    ByComponent here;
    for (const BackupSummary& backup : catalog.backups) {
      if (!is_wanted(backup)) continue;
      here[backup.component].push_back(backup);
      if (!arguments_.has("--job") || backup.job == arguments_.value("--job")) {
        shown_.push_back({backup, config.name});
      }
    }
    add_configured(config, here);
    for (const auto& [name, backups] : here) {
      windows_[name] = window_of(context, backups);
      components_[name] = backups;
    }
    const VerifiedTimes verified = repository::verified_times(context);
    verified_.insert(verified.begin(), verified.end());
    for (const auto& problem : catalog.damaged) {
      if (wanted_.empty() || problem.object.starts_with("backups/" + wanted_)) {
        damaged_.push_back(problem);
      }
    }
  }

  // The configured components too, also those without a backup: that there is none is worth
  // knowing.
  void add_configured(const stack::RepositoryConfig& config, ByComponent& here) {
    for (const auto& component : session_.config().components) {
      const auto& own = component.repositories;
      const bool belongs =
          own.empty() ? &config == &session_.repository_config() : own.front() == config.name;
      if (belongs && (wanted_.empty() || component.name == wanted_)) here[component.name];
    }
  }

  void print_document() {
    nlohmann::json backups = nlohmann::json::array();
    for (const auto& [backup, repository] : shown_) {
      backups.push_back(backup_json(backup, repository, verified_));
    }
    nlohmann::json windows = nlohmann::json::object();
    for (const auto& [name, window] : windows_) {
      windows[name] = window_json(window);
      if (!arguments_.has("--points")) continue;
      auto& points = windows[name]["points"] = nlohmann::json::array();
      for (const auto& backup : components_[name]) points.push_back(time_json(backup.finished));
    }
    nlohmann::json document = {{"backups", backups}, {"windows", windows}};
    for (const auto& problem : damaged_) {
      document["damaged"].push_back({{"object", problem.object}, {"problem", problem.what}});
    }
    session_.print_json(document);
  }

  void print_tables() {
    TextTable table(
        {"ID", "COMPONENT", "KIND", "JOB", "TIME", ">SIZE", ">STORED", "VERIFIED", "NOTES"});
    for (const auto& [backup, repository] : shown_) {
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
  std::string wanted_;  // a component; empty: all
  ByComponent components_;
  std::map<std::string, stack::RecoveryWindow> windows_;
  VerifiedTimes verified_;
  std::vector<Listed> shown_;
  std::vector<repository::Index::Problem> damaged_;
};

}  // namespace

int run_list(Session& session) { return ListRun(session).run(); }

}  // namespace holdfast::cli
