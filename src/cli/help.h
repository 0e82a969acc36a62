#pragma once

#include "cli/arguments.h"
#include "cli/session.h"

namespace holdfast::cli {

std::string help_text();                        // all commands
std::string help_text(const Command& command);  // one of them

// `command` null: all of them.
void print_help(Session& session, const Command* command);

}  // namespace holdfast::cli
