// How PostgreSQL is to call this program, with this configuration.
#pragma once

#include <filesystem>
#include <string>

#include "cli/session.h"

namespace holdfast::cli {

// For a shell: in single quotes where it needs them.
std::string quote_for_shell(const std::string& text);
// The same, with % doubled for PostgreSQL.
std::string quote_for_postgres(const std::string& text);

// "/usr/bin/holdfast -c /etc/holdfast/holdfast.yaml wal fetch --component database %f "%p"".
std::string restore_command(Session& session, const std::string& component);
// "… wal push --component database "%p"".
std::string archive_command(Session& session, const std::string& component);
// The same with a configuration that need not be there yet.
std::string archive_command_of(const std::filesystem::path& configuration,
                               const std::string& component);

}  // namespace holdfast::cli
