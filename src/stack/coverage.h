// Retention by the store (object_lock) of what backups need, with the logs that their kinds know
// of.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repository/record.h"
#include "repository/retention_lock.h"

namespace holdfast::stack {

// Of these backups, by their records' summaries. `now` by the storage's clock.
std::optional<repository::Coverage> cover_backups(
    const repository::Context& context, const std::vector<repository::BackupSummary>& backups,
    base::Time now, base::Progress& progress, std::stop_token stop);

// Of backups that were just taken or copied, from the moment on when the newest of their records
// was put. Warnings where they are not covered: they are there all the same.
std::vector<std::string> cover_new_backups(const repository::Context& context,
                                           const std::vector<repository::BackupSummary>& backups,
                                           base::Progress& progress, std::stop_token stop);

}  // namespace holdfast::stack
