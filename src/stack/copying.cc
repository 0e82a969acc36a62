#include "stack/copying.h"

#include <algorithm>

#include "stack/component.h"
#include "stack/coverage.h"

namespace holdfast::stack {
namespace {

using repository::BackupSummary;

std::vector<std::string> chosen_backups(const repository::Context& from,
                                        const std::vector<std::string>& names) {
  std::vector<BackupSummary> backups;
  for (const std::string& name : names) {
    const std::string id = repository::resolve_backup(from, name);
    backups.push_back(repository::get_record(from, id).summary);
  }
  std::sort(backups.begin(), backups.end(), [](const BackupSummary& a, const BackupSummary& b) {
    return std::pair(a.started, a.id) < std::pair(b.started, b.id);
  });
  std::vector<std::string> ids;
  for (BackupSummary& backup : backups) ids.push_back(std::move(backup.id));
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

std::vector<std::string> logs_of(const BackupSummary& backup) {
  const auto component = find_component(backup);
  return component ? component->needed_logs(backup) : std::vector<std::string>{};
}

// What was there already, for other backups, may be locked for too short a time.
void cover(const repository::Context& to, std::vector<repository::CopiedBackup>& copied,
           base::Progress& progress, const std::stop_token& stop) {
  std::vector<BackupSummary> backups;
  for (const repository::CopiedBackup& backup : copied) {
    if (!backup.error) backups.push_back(repository::get_record(to, backup.id).summary);
  }
  if (backups.empty()) return;
  copied.back().warnings = cover_new_backups(to, backups, progress, stop);
}

}  // namespace

std::vector<repository::CopiedBackup> copy_backups(const repository::Repository& from,
                                                   const repository::Repository& to,
                                                   const CopyingOptions& options,
                                                   base::Progress& progress, std::stop_token stop) {
  const repository::CopyOptions what{.backups = chosen_backups(from.context(), options.backups),
                                     .workers = options.workers,
                                     .dry_run = options.dry_run};
  std::vector<repository::CopiedBackup> result;
  repository::copy_backups(
      from.context(), to.context(), what, logs_of,
      [&](repository::CopiedBackup&& copied) { result.push_back(std::move(copied)); }, progress,
      stop);
  if (!options.dry_run) cover(to.context(), result, progress, stop);
  return result;
}

}  // namespace holdfast::stack
