#include "cli/backup_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/backup_view.h"
#include "cli/commands.h"
#include "cli/error_json.h"

namespace holdfast::cli {

using base::Error;

void BackupReport::done(repository::BackupSummary backup, const std::string& repository) {
  const std::string where = name_repositories_ ? ", repository " + repository : "";
  session_.print(fmt::format(
      "{}  {}, {} in {}, stored {}{}", backup.id, backup.type == "dump" ? backup.type : backup.kind,
      base::format_size(backup.bytes), base::format_duration(backup.finished - backup.started),
      base::format_size(backup.bytes_stored), where));
  for (const std::string& warning : backup.warnings) session_.warn(warning);
  done_.push_back({std::move(backup), repository});
}

void BackupReport::failed(const std::string& component, const std::string& repository,
                          Error error) {
  if (name_components_) error.add_context(component);
  if (name_repositories_) error.add_context("repository " + repository);
  session_.error(error);
  failed_.push_back({component, repository, std::move(error)});
}

void BackupReport::could_not_open(const std::vector<std::string>& components,
                                  const std::string& repository, const Error& error) {
  session_.error(error);
  for (const std::string& name : components) failed_.push_back({name, repository, error});
}

void BackupReport::print_json() {
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

int BackupReport::status(bool only_one) const {
  const auto is_lock = [&] { return failed_.front().error.kind() == base::ErrorKind::kLocked; };
  const bool alone = only_one && done_.empty();
  if (failed_.size() == 1 && (alone || (!name_repositories_ && is_lock()))) {
    return base::info(failed_.front().error.kind()).exit_status;
  }
  if (!failed_.empty()) return kFailed;
  const bool warned = std::any_of(done_.begin(), done_.end(),
                                  [](const Done& done) { return !done.backup.warnings.empty(); });
  return warned ? kAttention : kDone;
}

}  // namespace holdfast::cli
