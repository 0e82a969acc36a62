#include "stack/repositories.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "stack/key_sharing.h"
#include "storage/directory.h"
#include "storage/s3/s3.h"

namespace holdfast::stack {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;

constexpr std::size_t kMaxSecretBytes = 64 * 1024;

crypto::SecretText read_secret_file(const std::string& path) {
  base::Bytes bytes = base::read_file(path, kMaxSecretBytes);
  crypto::SecretText text{std::string(base::as_text(bytes))};
  crypto::wipe(bytes);
  return text;
}

Error missing_secret(const SecretSource& source, std::string_view problem) {
  return {ErrorKind::kConfig, fmt::format("{}: {}", source.where, problem)};
}

Error missing_key_file(const RepositoryConfig& config) {
  return {ErrorKind::kKey,
          fmt::format("the key file {} of the repository {} is missing ({})", config.key_file,
                      config.name, config.where),
          "bring back a copy of it: without a key nobody can read the repository"};
}

bool is_file(const std::string& path) { return key_file_access(path).has_value(); }

bool is_there(const RepositoryConfig& config) {
  std::error_code ignored;
  return !config.is_directory() || fs::exists(config.url, ignored);
}

Error no_repository(const RepositoryConfig& config) {
  return {ErrorKind::kNotFound, fmt::format("there is no repository in {}", config.url),
          config.is_directory() ? "see whether it is mounted, or create it with `holdfast init`"
                                : "see whether bucket and prefix are right, or create it with "
                                  "`holdfast init`"};
}

// More than what an init that was interrupted leaves. The first object is enough: a bucket may hold
// millions.
bool holds_data(storage::Storage& storage) {
  struct Found {};
  try {
    for (const std::string_view prefix : {"packs/", "backups/", "wal/"}) {
      storage.list(prefix, [](const storage::ObjectInfo&) { throw Found(); });
    }
    return false;
  } catch (const Found&) {
    return true;
  }
}

Error missing_format(const RepositoryConfig& config) {
  return {ErrorKind::kDamaged,
          fmt::format("the object format is missing from {}, which holds backups", config.url),
          "put it back from a copy of the repository"};
}

// Whether there is a repository comes first: where it is not mounted, or init has not run, the key
// is not what the user must look at.
std::unique_ptr<repository::Repository> open_existing(const RepositoryConfig& config,
                                                      const base::Clock& clock,
                                                      crypto::Random& random) {
  if (!is_there(config)) throw no_repository(config);
  std::optional<Error> problem;
  try {
    const repository::Credential credential = read_credential(config);
    return repository::Repository::open(open_storage(config, clock, random), credential, clock,
                                        random, config.compression);
  } catch (const Error& error) {
    const bool may_be_absent = error.kind() == ErrorKind::kNotFound ||
                               error.kind() == ErrorKind::kKey ||
                               error.kind() == ErrorKind::kConfig;
    if (!may_be_absent) throw;
    problem = error;
  }
  const auto storage = open_storage(config, clock, random);
  if (repository::exists(*storage)) throw *problem;
  if (holds_data(*storage)) throw missing_format(config);
  throw no_repository(config);
}

}  // namespace

crypto::SecretText read_secret(const SecretSource& source) {
  if (source.kind == SecretSource::Kind::kEnvironment) {
    const char* value = std::getenv(source.value.c_str());
    if (value == nullptr || *value == '\0') {
      throw missing_secret(source,
                           fmt::format("the environment variable {} is not set", source.value));
    }
    return crypto::SecretText(value);
  }
  std::error_code ignored;
  if (!fs::exists(source.value, ignored)) {
    throw missing_secret(source, fmt::format("there is no file {}", source.value));
  }
  crypto::SecretText text = read_secret_file(source.value);
  std::string_view line = text.view();
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  if (line.empty()) throw missing_secret(source, fmt::format("{} is empty", source.value));
  return crypto::SecretText(std::string(line));
}

std::optional<KeyFileAccess> key_file_access(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throw base::system_error(errno, fmt::format("looking for the key file {}", path));
  }
  if ((status.st_mode & S_IRWXO) != 0) return KeyFileAccess::kOthers;
  if ((status.st_mode & S_IRWXG) != 0) return KeyFileAccess::kGroup;
  return KeyFileAccess::kOwner;
}

// The group may read: root, who backs up, and the server's user, who archives WAL, often share a
// key.
repository::Credential read_key_file(const std::string& path) {
  const auto access = key_file_access(path);
  if (!access) {
    throw Error(ErrorKind::kKey, fmt::format("there is no key file {}", path));
  }
  if (*access == KeyFileAccess::kOthers) {
    throw Error(ErrorKind::kKey, fmt::format("every user may read or write the key file {}", path),
                fmt::format("run: chmod 600 {}", path));
  }
  const crypto::SecretText text = read_secret_file(path);
  return base::with_context([&] { return fmt::format("key file {}", path); },
                            [&] { return repository::parse_key_file(text); });
}

repository::Credential read_credential(const RepositoryConfig& config) {
  if (!config.key_file.empty()) {
    if (!is_file(config.key_file)) throw missing_key_file(config);
    return read_key_file(config.key_file);
  }
  repository::Credential credential;
  credential.kind = repository::Credential::Kind::kPassphrase;
  credential.passphrase = read_secret(config.passphrase);
  return credential;
}

bool create_key_file(const std::string& path, crypto::Random& random) {
  const crypto::SecretText text = repository::make_key_file(random);
  const fs::path parent = fs::path(path).parent_path();
  std::error_code error;
  const bool new_directory = !parent.empty() && fs::create_directories(parent, error);
  if (error) throw base::system_error(error.value(), fmt::format("creating {}", parent.string()));
  if (new_directory) fs::permissions(parent, fs::perms::owner_all, error);
  return base::create_file_durably(path, base::as_bytes(text.view()), 0600);
}

std::unique_ptr<storage::Storage> open_storage(const RepositoryConfig& config,
                                               const base::Clock& clock, crypto::Random& random) {
  if (config.is_directory()) return storage::open_directory(config.url);
  storage::s3::Options options = config.s3.options;
  if (!options.ca_file.empty() && !is_file(options.ca_file)) {
    throw Error(ErrorKind::kConfig,
                fmt::format("{}: there is no ca_file {}", config.where, options.ca_file));
  }
  if (options.region.empty()) options.region = storage::s3::usual_region(config.s3.credentials);
  return storage::s3::open(std::move(options),
                           storage::s3::find_credentials(config.s3.credentials, clock), clock,
                           random);
}

std::unique_ptr<repository::Repository> open_repository(const RepositoryConfig& config,
                                                        const base::Clock& clock,
                                                        crypto::Random& random) {
  return base::with_context([&] { return fmt::format("opening the repository {}", config.name); },
                            [&] { return open_existing(config, clock, random); });
}

bool opens(const repository::Repository& repository, const repository::Credential& credential) {
  try {
    repository::open_keyring(repository.storage(), credential);
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kKey) throw;
    return false;
  }
}

CreatedRepository create_repository(const RepositoryConfig& config, const base::Clock& clock,
                                    crypto::Random& random, const KeyChoice& keys) {
  CreatedRepository result{.name = config.name};
  auto storage = config.is_directory() ? storage::create_directory(config.url)
                                       : open_storage(config, clock, random);
  if (repository::exists(*storage)) {
    repository::Repository::open(std::move(storage), read_credential(config), clock, random,
                                 config.compression);
    return result;
  }
  if (!config.key_file.empty() && !is_file(config.key_file)) {
    if (is_key_file_of_another(keys.others, config, clock, random)) throw missing_key_file(config);
    result.key_file_created = create_key_file(config.key_file, random);
  }
  const repository::Credential credential = read_credential(config);
  KeySharing sharing;
  if (!keys.own_keys) sharing = find_shared_keys(keys.others, config, credential, clock, random);
  constexpr std::string_view kLabel = "created by init";
  if (sharing.keyring) {
    repository::create_with_keys(*storage, *sharing.keyring, credential, kLabel, clock, random);
  } else {
    repository::create(*storage, credential, kLabel, clock, random);
  }
  result.created = true;
  result.shares_keys_with = std::move(sharing.with);
  result.notes = std::move(sharing.notes);
  return result;
}

}  // namespace holdfast::stack
