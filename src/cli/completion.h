#pragma once

#include <string>

#include "cli/arguments.h"

namespace holdfast::cli {

// Scripts for the shells, from the table.
std::string bash_completion(const Language& language);
std::string zsh_completion(const Language& language);
std::string fish_completion(const Language& language);

}  // namespace holdfast::cli
