// Which backup a restore takes of a component that comes back as of its backups alone.
#pragma once

#include <string>
#include <string_view>

#include "stack/component.h"

namespace holdfast::stack {

// The one that is named, the newest that had ended by `at`, or the newest. kNotFound (exit 4, with
// the window) for a moment before the first or after the last.
repository::BackupRecord choose_backup(const repository::Context& context,
                                       const std::string& component, const RestoreOptions& options);

// kUsage, naming it, for an option that only PostgreSQL has.
void refuse_options_of_databases(const RestoreOptions& options, std::string_view type);

}  // namespace holdfast::stack
