// `restore COMPONENT --table …`: single tables, into a database.
#pragma once

#include "cli/session.h"

namespace holdfast::cli {

// Whether the command line asks for tables rather than for the component.
bool wants_tables(const Arguments& arguments);
// Returns the exit status, or throws, as a command does.
int restore_tables(Session& session);

}  // namespace holdfast::cli
