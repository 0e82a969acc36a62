// Whether a server is at work on a directory: by its lock files, and by what the processes of this
// machine say of themselves. A server on another host, or in a container whose processes are not
// seen from here, is not found.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>

namespace holdfast::postgres {

// The process that the first line of a server's lock file (postmaster.pid, .s.PGSQL.5432.lock)
// names, if it lives; nullopt also where there is no such file or no number in it.
std::optional<pid_t> living_holder(const std::filesystem::path& lock_file);

// Why the data directory counts as in use, as a sentence; nullopt where it does not. The lock file
// of a server that is gone is no reason; one whose process cannot be told from a server is.
std::optional<std::string> server_on(const std::filesystem::path& data_directory);

// The same of a tablespace's directory: of whatever server has a link to it.
std::optional<std::string> server_with_tablespace(const std::filesystem::path& location);

}  // namespace holdfast::postgres
