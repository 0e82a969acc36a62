#include "stack/coverage.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "stack/component.h"
#include "storage/object_store.h"

namespace holdfast::stack {
namespace {

bool locks(const repository::Context& context) {
  storage::ObjectStore* store = context.storage.object_store();
  return store != nullptr && store->lock_period();
}

}  // namespace

std::optional<repository::Coverage> cover_backups(
    const repository::Context& context, const std::vector<repository::BackupSummary>& backups,
    base::Time now, base::Progress& progress, std::stop_token stop) {
  if (!locks(context)) return std::nullopt;
  progress.phase("locking what the backups need", 0);
  std::vector<std::string> ids;
  std::set<std::string> logs;
  for (const repository::BackupSummary& backup : backups) {
    ids.push_back(backup.id);
    const auto component = find_component(backup);
    if (!component) continue;
    for (std::string& log : component->needed_logs(backup)) logs.insert(std::move(log));
  }
  return repository::cover_backups(context, ids, {logs.begin(), logs.end()}, now, std::move(stop));
}

std::vector<std::string> cover_new_backups(const repository::Context& context,
                                           const std::vector<repository::BackupSummary>& backups,
                                           base::Progress& progress, std::stop_token stop) {
  if (!locks(context)) return {};
  try {
    base::Time now{};
    for (const repository::BackupSummary& backup : backups) {
      const auto record = context.storage.stat(repository::record_name(backup.id));
      now = std::max(now, record ? record->modified : context.clock.now());
    }
    return cover_backups(context, backups, now, progress, std::move(stop))->problems;
  } catch (const base::Error& error) {
    return {
        fmt::format("what backups need is not locked as object_lock wants it: {}", error.what())};
  }
}

}  // namespace holdfast::stack
