// Connection strings of libpq, read before anything is done with them.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace holdfast::postgres {

using ConnectionOptions = std::vector<std::pair<std::string, std::string>>;

// What stands in `text`, "name=value …" or a URI. kConfig, in words that show nothing of it, where
// libpq cannot read it, and where it reads a part of what may be a password as the host, the port
// or the database, which libpq and the server show in their errors.
ConnectionOptions read_conninfo(const std::string& text);

// "name='value' …", quoted.
std::string conninfo_of(const ConnectionOptions& options);

// The user that it names; nullopt where it names none, or cannot be read.
std::optional<std::string> user_of(const std::string& conninfo);

}  // namespace holdfast::postgres
