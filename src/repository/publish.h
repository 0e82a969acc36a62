// The last act of a writing run: its record.
#pragma once

#include "repository/lock.h"
#include "repository/record.h"

namespace holdfast::repository {

// Puts the record of a run that holds `lock` since before it loaded `index`. A prune waits for such
// a run. Where it may not have (the lock was lost, or the storage's clock went back), everything
// that the record needs is looked for first, and kFailed if a prune has removed it or may; nothing
// is left of the record then. kLocked where another run has taken the lock's scope over.
storage::PutResult publish_record(const Context& context, const BackupRecord& record,
                                  const Index& index, const Lock& lock);

}  // namespace holdfast::repository
