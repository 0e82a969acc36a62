// Repositories of one configuration that one credential opens have the same keys, so that `copy`
// moves what is in them as it is. docs/decisions/0009-shared-keys.md says why.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "repository/repository.h"
#include "stack/config.h"

namespace holdfast::stack {

struct KeySharing {
  std::string with;                            // the repository's name; empty: none
  std::optional<repository::Keyring> keyring;  // its keys
  std::vector<std::string> notes;              // which ones could not be asked, and why
};

// Looks for keys for a new repository: those of the first of `others` with the same key file, or
// with a passphrase, that the credential opens with full rights. One that cannot be reached is no
// error.
KeySharing find_shared_keys(std::span<const RepositoryConfig> others,
                            const RepositoryConfig& wanted,
                            const repository::Credential& credential, const base::Clock& clock,
                            crypto::Random& random);

// Whether the key file, which is missing, is that of a repository which exists: then a new one in
// its place would hide the loss.
bool is_key_file_of_another(std::span<const RepositoryConfig> others,
                            const RepositoryConfig& wanted, const base::Clock& clock,
                            crypto::Random& random);

}  // namespace holdfast::stack
