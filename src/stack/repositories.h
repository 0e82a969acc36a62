// Opening and creating the repositories of a configuration.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "repository/repository.h"
#include "stack/config.h"

namespace holdfast::stack {

// A secret text from a file (its last line break is not part of it) or the environment. kConfig,
// naming the place in the configuration, where it is missing or empty.
crypto::SecretText read_secret(const SecretSource& source);

// kKey where others than the owner and the group may read the file: it is a secret.
repository::Credential read_key_file(const std::string& path);
repository::Credential read_credential(const RepositoryConfig& config);

// Who besides the owner may read a key file.
enum class KeyFileAccess { kOwner, kGroup, kOthers };
std::optional<KeyFileAccess> key_file_access(const std::string& path);  // nullopt: there is none

// Makes a key file (0600) with a new secret; false, touching nothing, where the file exists.
bool create_key_file(const std::string& path, crypto::Random& random);

// Makes no request to a bucket yet. The clock and the randomness outlive it.
std::unique_ptr<storage::Storage> open_storage(const RepositoryConfig& config,
                                               const base::Clock& clock, crypto::Random& random);
std::unique_ptr<repository::Repository> open_repository(const RepositoryConfig& config,
                                                        const base::Clock& clock,
                                                        crypto::Random& random);

// Whether a credential opens the repository, whichever one it has been opened with.
bool opens(const repository::Repository& repository, const repository::Credential& credential);

// Whose keys a new repository has: those of the first of `others` that its credential opens; its
// own where there is none, or where that is wished.
struct KeyChoice {
  std::span<const RepositoryConfig> others{};
  bool own_keys = false;
};
struct CreatedRepository {
  std::string name;
  bool created = false;            // false: it existed
  bool key_file_created = false;   // its path is the configuration's
  std::string shares_keys_with{};  // another repository of the configuration; empty: none
  std::vector<std::string> notes{};
};
// Makes the key file (0600) where it is missing, and the repository where it does not exist.
// Changes nothing that exists. A repository that is there must open: otherwise the key is the wrong
// one (kKey).
CreatedRepository create_repository(const RepositoryConfig& config, const base::Clock& clock,
                                    crypto::Random& random, const KeyChoice& keys = {});

}  // namespace holdfast::stack
