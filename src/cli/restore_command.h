// How PostgreSQL is to call this program, with this configuration.
#pragma once

#include <string>

#include "cli/session.h"

namespace holdfast::cli {

// For single quotes of a shell, with % doubled for PostgreSQL; plain where nothing needs it.
std::string quote_for_postgres(const std::string& text);

// "/usr/bin/holdfast -c /etc/holdfast/holdfast.yaml wal fetch --component database %f "%p"".
std::string restore_command(Session& session, const std::string& component);
// "… wal push --component database "%p"".
std::string archive_command(Session& session, const std::string& component);

}  // namespace holdfast::cli
