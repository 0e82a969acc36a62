// Options that more than one of the `key` commands have.
#pragma once

#include <optional>

#include "cli/arguments.h"
#include "repository/keyring.h"

namespace holdfast::cli {

// From --passphrase-file or --passphrase-env; nullopt where neither is given.
std::optional<repository::Credential> new_passphrase(const Arguments& arguments);

}  // namespace holdfast::cli
