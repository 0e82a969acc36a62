// Taking a logical dump, for `dump` and for the `dumps` of a full backup.
#pragma once

#include <string>

#include "cli/backup_report.h"
#include "cli/session.h"
#include "stack/component.h"

namespace holdfast::cli {

// Its outcome goes to the report. False where the run is to end. The session's scratch directory is
// used, whatever `options` say.
bool dump_database(Session& session, const stack::ComponentConfig& component,
                   stack::DumpOptions options, const std::string& repository_name,
                   const repository::Repository& repository, BackupReport& report);

}  // namespace holdfast::cli
