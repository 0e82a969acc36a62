#include "stack/key_sharing.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "stack/repositories.h"

namespace holdfast::stack {
namespace {

using base::Error;
using base::ErrorKind;
using repository::Credential;
using repository::Repository;

// Another key file opens another repository: it need not be asked, which may take long.
bool may_be_opened_alike(const RepositoryConfig& other, const RepositoryConfig& wanted) {
  if (other.name == wanted.name || other.key_file.empty() != wanted.key_file.empty()) return false;
  std::error_code ignored;
  return other.key_file == wanted.key_file ||
         std::filesystem::equivalent(other.key_file, wanted.key_file, ignored);
}

// Null where there is no repository.
std::unique_ptr<storage::Storage> find_repository(const RepositoryConfig& config,
                                                  const base::Clock& clock,
                                                  crypto::Random& random) {
  std::error_code ignored;
  if (config.is_directory() && !std::filesystem::exists(config.url, ignored)) return nullptr;
  auto storage = open_storage(config, clock, random);
  if (!repository::exists(*storage)) return nullptr;
  return storage;
}

// Null where there is none that the credential opens.
std::unique_ptr<Repository> open_with(const RepositoryConfig& config, const Credential& credential,
                                      const base::Clock& clock, crypto::Random& random) {
  try {
    auto storage = find_repository(config, clock, random);
    if (!storage) return nullptr;
    return Repository::open(std::move(storage), credential, clock, random, config.compression);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kKey) throw;
    return nullptr;
  }
}

}  // namespace

KeySharing find_shared_keys(std::span<const RepositoryConfig> others,
                            const RepositoryConfig& wanted, const Credential& credential,
                            const base::Clock& clock, crypto::Random& random) {
  KeySharing sharing;
  if (credential.kind == Credential::Kind::kExported) return sharing;  // it opens no slot
  for (const RepositoryConfig& other : others) {
    if (!may_be_opened_alike(other, wanted)) continue;
    try {
      const auto repository = open_with(other, credential, clock, random);
      if (!repository || !repository->keyring().can_read_data()) continue;
      sharing.with = other.name;
      sharing.keyring = repository->keyring();
      return sharing;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kInterrupted) throw;
      sharing.notes.push_back(fmt::format("{} could not be asked whether {} can have its keys: {}",
                                          other.name, wanted.name, error.what()));
    }
  }
  return sharing;
}

bool is_key_file_of_another(std::span<const RepositoryConfig> others,
                            const RepositoryConfig& wanted, const base::Clock& clock,
                            crypto::Random& random) {
  return std::any_of(others.begin(), others.end(), [&](const RepositoryConfig& other) {
    if (!may_be_opened_alike(other, wanted)) return false;
    try {
      return find_repository(other, clock, random) != nullptr;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kInterrupted) throw;
      return true;  // nobody can tell: then no new key file may take the place of a lost one
    }
  });
}

}  // namespace holdfast::stack
