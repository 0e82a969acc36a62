// Stores what another repository holds anew, under this one's keys. Internal to this folder.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repository/backup_needs.h"

namespace holdfast::repository {

// Reads all that the backup needs, each chunk checked against its id, and stores it in the target;
// gives the record as it is there, not yet put. kDamaged where something cannot be read.
BackupRecord store_anew(const Context& from, const Index& from_index, const BackupNeeds& needs,
                        const Context& to, const Index& to_index, int workers,
                        base::Progress& progress, std::stop_token stop);

// The same for a log object, which keeps the time at which it was archived. kRefused where the
// target holds another content under the name.
void store_log_anew(const Context& from, const Context& to, const std::string& name, int workers);

}  // namespace holdfast::repository
