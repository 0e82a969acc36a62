#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/priority.h"
#include "cli/backup_view.h"
#include "cli/commands.h"
#include "cli/error_json.h"
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
  explicit BackupRun(Session& session) : session_(session) {}

  int run() {
    choose();
    if (session_.config().limits.low_priority && !base::lower_priority()) {
      session_.note("the system does not let this run at a lower priority");
    }
    for (const stack::RepositoryConfig* repository : repositories_) {
      if (!back_up_to(*repository)) break;
    }
    if (session_.json()) print_result();
    return status();
  }

 private:
  void choose() {
    const Arguments& arguments = session_.arguments();
    components_ = arguments.positional;
    std::string kind = "full";
    if (const auto name = arguments.value("--job")) {
      const stack::JobConfig& job = session_.config().job(*name);
      options_.job = job.name;
      kind = job.kind;
      for (const std::string& repository : job.repositories) {
        repositories_.push_back(&session_.config().repository(repository));
      }
      if (components_.empty()) components_ = job.backup;
      if (components_.empty()) {
        throw Error(ErrorKind::kUsage, fmt::format("the job {} is no backup", job.name));
      }
    }
    if (repositories_.empty() || arguments.value("--repository")) {
      repositories_ = {&session_.repository_config()};
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
    for (const std::string& name : components_) session_.config().component(name);
  }

  bool only_one() const { return components_.size() == 1 && repositories_.size() == 1; }

  // False where the run is to end.
  bool back_up_to(const stack::RepositoryConfig& config) {
    std::unique_ptr<repository::Repository> repository;
    try {
      base::throw_if_stopped(session_.stop());
      repository = session_.open(config);
    } catch (const Error& error) {
      if (repositories_.size() == 1) throw;  // nothing else is worth trying
      session_.error(error);
      for (const std::string& name : components_) failed_.push_back({name, config.name, error});
      return error.kind() != ErrorKind::kInterrupted;
    }
    // The server's own archiving goes to the first one: for another, WAL must wait in pg_wal.
    options_.hold_wal = &config != &session_.config().repositories.front();
    for (const std::string& name : components_) {
      if (!back_up(name, config.name, *repository)) return false;
    }
    return true;
  }

  // False where the run is to end.
  bool back_up(const std::string& name, const std::string& repository_name,
               const repository::Repository& repository) {
    try {
      base::throw_if_stopped(session_.stop());
      const auto component = stack::make_component(session_.config().component(name));
      BackupSummary backup;
      {
        const auto progress = session_.progress();
        backup = component->take_backup(repository.context(), options_, *progress, session_.stop());
      }
      tell(backup, repository_name);
      done_.push_back({std::move(backup), repository_name});
      return true;
    } catch (Error& error) {
      if (components_.size() > 1) error.add_context(name);
      if (repositories_.size() > 1) error.add_context("repository " + repository_name);
      session_.error(error);
      failed_.push_back({name, repository_name, error});
      return error.kind() != ErrorKind::kInterrupted;
    }
  }

  void tell(const BackupSummary& backup, const std::string& repository) {
    const std::string where = repositories_.size() > 1 ? ", repository " + repository : "";
    session_.print(fmt::format("{}  {}, {} in {}, stored {}{}", backup.id, backup.kind,
                               base::format_size(backup.bytes),
                               base::format_duration(backup.finished - backup.started),
                               base::format_size(backup.bytes_stored), where));
    for (const std::string& warning : backup.warnings) session_.warn(warning);
  }

  void print_result() {
    nlohmann::json backups = nlohmann::json::array();
    for (const auto& [backup, repository] : done_) {
      backups.push_back(backup_json(backup, repository, {}));
    }
    nlohmann::json failed = nlohmann::json::array();
    for (const auto& [name, repository, error] : failed_) {
      failed.push_back(
          {{"component", name}, {"repository", repository}, {"error", error_json(error)}});
    }
    nlohmann::json document = {{"backups", backups}, {"failed", failed}};
    if (!failed_.empty()) document["error"] = error_json(failed_.front().error);
    session_.print_json(document);
  }

  int status() const {
    if (failed_.size() == 1 && (only_one() || only_a_lock())) {
      return base::info(failed_.front().error.kind()).exit_status;
    }
    if (!failed_.empty()) return kFailed;
    const bool warned = std::any_of(done_.begin(), done_.end(),
                                    [](const Done& done) { return !done.backup.warnings.empty(); });
    return warned ? kAttention : kDone;
  }
  bool only_a_lock() const {
    return repositories_.size() == 1 && failed_.front().error.kind() == ErrorKind::kLocked;
  }

  struct Done {
    BackupSummary backup;
    std::string repository;
  };
  struct Failure {
    std::string component;
    std::string repository;
    Error error;
  };

  Session& session_;
  std::vector<std::string> components_;
  stack::BackupOptions options_;
  Session::RepositoryConfigs repositories_;
  std::vector<Done> done_;
  std::vector<Failure> failed_;
};

}  // namespace

int run_backup(Session& session) { return BackupRun(session).run(); }

}  // namespace holdfast::cli
