#include "stack/archiving_key.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "crypto/hash.h"
#include "stack/repositories.h"

namespace holdfast::stack {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;
using repository::Repository;

bool is_private(const fs::path& path, mode_t type) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && (status.st_mode & S_IFMT) == type &&
         status.st_uid == ::geteuid() && (status.st_mode & (S_IRWXG | S_IRWXO)) == 0;
}

std::optional<fs::path> place_for(const RepositoryConfig& config) {
  const std::optional<fs::path> directory = private_directory();
  if (!directory) return std::nullopt;
  const crypto::Digest digest = crypto::sha256(base::as_bytes(config.place()));
  return *directory / (base::to_hex(digest).substr(0, 32) + ".key");
}

// Null where it is missing, or of a repository that stood here before.
std::unique_ptr<Repository> open_with_kept_key(const fs::path& place,
                                               const RepositoryConfig& config,
                                               const base::Clock& clock, crypto::Random& random) {
  if (!is_private(place, S_IFREG)) return nullptr;
  try {
    return Repository::open(open_storage(config, clock, random), read_key_file(place.string()),
                            clock, random, config.compression);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kKey) throw;
    return nullptr;
  }
}

void keep_key(const fs::path& place, const Repository& repository) {
  const crypto::SecretText text = repository::export_key_file(repository.keyring().write_only());
  try {
    base::write_file_durably(place, base::as_bytes(text.view()), 0600);
  } catch (const Error&) {
    ::unlink(place.c_str());  // the next call is slow again; what was asked for is not in danger
  }
}

}  // namespace

std::optional<fs::path> private_directory() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  fs::path directory = fmt::format("/dev/shm/holdfast-{}", ::geteuid());
  if (runtime != nullptr && is_private(runtime, S_IFDIR))
    directory = fs::path(runtime) / "holdfast";
  ::mkdir(directory.c_str(), S_IRWXU);
  if (!is_private(directory, S_IFDIR)) return std::nullopt;
  return directory;
}

std::unique_ptr<Repository> open_repository_for_archiving(const RepositoryConfig& config,
                                                          const base::Clock& clock,
                                                          crypto::Random& random) {
  const std::optional<fs::path> place = config.key_file.empty() ? place_for(config) : std::nullopt;
  if (place) {
    if (auto repository = open_with_kept_key(*place, config, clock, random)) return repository;
  }
  auto repository = open_repository(config, clock, random);
  if (place) keep_key(*place, *repository);
  return repository;
}

}  // namespace holdfast::stack
