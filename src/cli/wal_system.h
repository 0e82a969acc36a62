// Whose WAL a command is about.
#pragma once

#include <optional>
#include <string>

#include "cli/session.h"

namespace holdfast::cli {

// The one that is named with --component, else the only PostgreSQL that is configured.
std::optional<std::string> postgres_component(Session& session);

}  // namespace holdfast::cli
