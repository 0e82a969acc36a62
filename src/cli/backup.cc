#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/priority.h"
#include "cli/backup_report.h"
#include "cli/commands.h"
#include "cli/dump.h"
#include "cli/session.h"
#include "stack/component.h"
#include "stack/schema.h"

namespace holdfast::cli {
namespace {

using base::Error;
using base::ErrorKind;
using repository::BackupSummary;

class BackupRun {
 public:
  explicit BackupRun(Session& session) : session_(session), report_(session) {}

  int run() {
    choose();
    if (components_.size() > 1) report_.name_components();
    if (repositories_.size() > 1) report_.name_repositories();
    if (session_.config().limits.low_priority && !base::lower_priority()) {
      session_.note("the system does not let this run at a lower priority");
    }
    for (const stack::RepositoryConfig* repository : repositories_) {
      if (!back_up_to(*repository)) break;
    }
    if (session_.json()) report_.print_json();
    return report_.status(components_.size() == 1 && repositories_.size() == 1);
  }

 private:
  void choose() {
    const Arguments& arguments = session_.arguments();
    components_ = arguments.positional;
    std::string kind = "full";
    std::vector<std::string> wanted;
    if (const auto name = arguments.value("--job")) {
      const stack::JobConfig& job = session_.config().job(*name);
      options_.job = job.name;
      kind = job.kind;
      wanted = job.repositories;
      if (components_.empty()) components_ = job.backup;
      if (components_.empty()) {
        throw Error(ErrorKind::kUsage, fmt::format("the job {} is no backup", job.name));
      }
    }
    options_.kind = arguments.value("--kind").value_or(kind);
    options_.accept_new_system = arguments.has("--accept-new-system");
    if (const auto share = arguments.value("--audit")) {
      options_.audit_share = stack::parse_share(*share);
      if (!options_.audit_share) {
        throw Error(ErrorKind::kUsage, fmt::format("--audit \"{}\" is no share", *share),
                    "give one from 0% to 100%, such as 2%");
      }
    }
    options_.workers = session_.workers();
    options_.rate_bytes = session_.config().limits.rate_bytes;
    if (components_.empty()) {
      for (const auto& component : session_.config().components) {
        components_.push_back(component.name);
      }
    }
    if (components_.empty()) {
      throw Error(ErrorKind::kConfig, "no component is configured",
                  "say below `components` what is to be backed up");
    }
    choose_places(wanted);
  }

  // Which component goes where.
  void choose_places(const std::vector<std::string>& wanted) {
    const auto only = session_.arguments().value("--repository");
    if (only) session_.config().repository(*only);
    std::vector<std::string> all;
    for (const std::string& name : components_) {
      const stack::ComponentConfig& component = session_.config().component(name);
      std::vector<std::string>& places = places_[name];
      places = session_.config().repositories_for(component,
                                                  only ? std::vector<std::string>{*only} : wanted);
      if (only && places != std::vector{*only}) refuse_place(component, *only);
      all.insert(all.end(), places.begin(), places.end());
    }
    for (const stack::RepositoryConfig& repository : session_.config().repositories) {
      if (std::find(all.begin(), all.end(), repository.name) != all.end()) {
        repositories_.push_back(&repository);
      }
    }
  }

  [[noreturn]] static void refuse_place(const stack::ComponentConfig& component,
                                        const std::string& repository) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("{} does not belong in the repository {}: it names {}", component.name,
                    repository, fmt::join(component.repositories, ", ")),
        fmt::format("name other components, or change `repository` at {}", component.where));
  }

  bool goes_to(const std::string& component, const std::string& repository) const {
    const std::vector<std::string>& places = places_.at(component);
    return std::find(places.begin(), places.end(), repository) != places.end();
  }

  // False where the run is to end.
  bool back_up_to(const stack::RepositoryConfig& config) {
    std::unique_ptr<repository::Repository> repository;
    try {
      base::throw_if_stopped(session_.stop());
      repository = session_.open(config);
    } catch (const Error& error) {
      if (repositories_.size() == 1) throw;  // nothing else is worth trying
      std::vector<std::string> concerned;
      std::copy_if(components_.begin(), components_.end(), std::back_inserter(concerned),
                   [&](const std::string& name) { return goes_to(name, config.name); });
      report_.could_not_open(concerned, config.name, error);
      return error.kind() != ErrorKind::kInterrupted;
    }
    // The server's own archiving goes to the first one: for another, WAL must wait in pg_wal.
    options_.hold_wal = &config != &session_.config().repositories.front();
    for (const std::string& name : components_) {
      if (goes_to(name, config.name) && !back_up(name, config.name, *repository)) return false;
    }
    return true;
  }

  // False where the run is to end.
  bool back_up(const std::string& name, const std::string& repository_name,
               const repository::Repository& repository) {
    const stack::ComponentConfig& config = session_.config().component(name);
    try {
      base::throw_if_stopped(session_.stop());
      const auto component = stack::make_component(config);
      BackupSummary backup;
      {
        const auto progress = session_.progress();
        backup = component->take_backup(repository.context(), options_, *progress, session_.stop());
      }
      report_.done(std::move(backup), repository_name);
    } catch (const Error& error) {
      report_.failed(name, repository_name, error);
      return error.kind() != ErrorKind::kInterrupted;
    }
    if (options_.kind != "full") return true;
    return std::all_of(config.dumps.begin(), config.dumps.end(), [&](const std::string& database) {
      return dump_database(session_, config, {.database = database, .job = options_.job},
                           repository_name, repository, report_);
    });
  }

  Session& session_;
  std::vector<std::string> components_;
  std::map<std::string, std::vector<std::string>> places_;  // of each component: repositories
  stack::BackupOptions options_;
  Session::RepositoryConfigs repositories_;
  BackupReport report_;
};

}  // namespace

int run_backup(Session& session) { return BackupRun(session).run(); }

}  // namespace holdfast::cli
