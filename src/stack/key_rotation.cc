#include "stack/key_rotation.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "stack/repositories.h"

namespace holdfast::stack {
namespace {

using base::Error;
using base::ErrorKind;
using repository::Credential;
using repository::Repository;
using repository::SlotId;

constexpr std::string_view kLabel = "rotated";

std::string old_name(const Repository& repository, const std::string& key_file) {
  return fmt::format("{}.old-{}", key_file,
                     base::format_compact_time(repository.context().clock.now()));
}

SlotId require_slot(const Repository& repository) {
  repository.require_reading("key rotate");
  if (repository.slot()) return *repository.slot();
  throw Error(ErrorKind::kRefused,
              "the key in use is an exported one and has no slot to be rotated",
              "add a key file of its own with `holdfast key add --key-file FILE`");
}

// The slot that the credential opens; nullopt if none.
std::optional<SlotId> slot_of(const Repository& repository, const Credential& credential) {
  try {
    return repository::open_keyring(repository.storage(), credential).slot;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kKey) throw;
    return std::nullopt;
  }
}

SlotId add_and_try(const Repository& repository, const Credential& credential) {
  const auto& context = repository.context();
  const SlotId added =
      repository::add_key_slot(repository.storage(), repository.keyring(), credential, kLabel,
                               context.clock.now(), context.random);
  if (slot_of(repository, credential) == added) return added;
  throw Error(ErrorKind::kFailed, "the new key does not open the repository; the old one stays");
}

base::Time created(const Repository& repository, const SlotId& id) {
  for (const auto& slot : repository::list_key_slots(repository.storage())) {
    if (slot.id == id) return slot.created;
  }
  return {};
}

// The two files change places in one step: there is no moment without a key file.
void exchange(const std::string& key_file, const std::string& new_file) {
  if (::renameat2(AT_FDCWD, new_file.c_str(), AT_FDCWD, key_file.c_str(), RENAME_EXCHANGE) != 0) {
    throw base::system_error(errno, fmt::format("exchanging {} and {}", key_file, new_file));
  }
  base::fsync_directory(std::filesystem::path(key_file).parent_path());
}

// Whoever could read the old key file (the server's user, for wal push) can read the new one.
void copy_access(const std::string& from, const std::string& to) {
  struct stat status {};
  if (::stat(from.c_str(), &status) != 0) throw base::system_error(errno, "looking at " + from);
  if (::chown(to.c_str(), status.st_uid, status.st_gid) != 0 ||
      ::chmod(to.c_str(), status.st_mode & 0777) != 0) {
    throw base::system_error(errno, fmt::format("giving {} the owner and rights of {}", to, from));
  }
}

void rename_durably(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    throw base::system_error(errno, fmt::format("renaming {} to {}", from, to));
  }
  base::fsync_directory(std::filesystem::path(to).parent_path());
}

// What FILE.new, left by an interrupted rotation, opens in each repository.
struct Leftover {
  std::vector<std::optional<SlotId>> slots;
  bool opens_any = false;
  bool is_older = false;  // it holds the old secret: the files have changed places already
};

Leftover examine(const std::vector<std::unique_ptr<Repository>>& repositories,
                 const Credential& credential) {
  Leftover result;
  for (const auto& repository : repositories) {
    const auto slot = slot_of(*repository, credential);
    result.slots.push_back(slot);
    if (!slot) continue;
    result.opens_any = true;
    if (created(*repository, *slot) < created(*repository, *repository->slot())) {
      result.is_older = true;
    }
  }
  return result;
}

}  // namespace

RotatedKey rotate_key_file(const std::vector<std::unique_ptr<Repository>>& repositories,
                           const std::string& key_file) {
  std::vector<SlotId> current;
  for (const auto& repository : repositories) current.push_back(require_slot(*repository));
  const std::string new_file = key_file + ".new";
  RotatedKey result;
  result.old_key_file = old_name(*repositories.front(), key_file);

  Leftover leftover;
  leftover.slots.resize(repositories.size());
  if (key_file_access(new_file)) {
    leftover = examine(repositories, read_key_file(new_file));
    // A secret that opens nothing is of no use, and may be an old one that was given up: never take
    // it.
    if (!leftover.opens_any) rename_durably(new_file, result.old_key_file + "-unused");
  }
  result.finished_earlier = leftover.opens_any;
  if (leftover.is_older) {
    for (std::size_t i = 0; i < repositories.size(); ++i) {
      result.added.push_back(current[i]);
      if (!leftover.slots[i]) continue;
      repository::remove_key_slot(repositories[i]->storage(), *leftover.slots[i]);
      result.removed.push_back(*leftover.slots[i]);
    }
    rename_durably(new_file, result.old_key_file);
    return result;
  }

  if (!leftover.opens_any) create_key_file(new_file, repositories.front()->context().random);
  copy_access(key_file, new_file);
  const Credential next = read_key_file(new_file);
  for (std::size_t i = 0; i < repositories.size(); ++i) {
    result.added.push_back(leftover.slots[i] ? *leftover.slots[i]
                                             : add_and_try(*repositories[i], next));
  }
  exchange(key_file, new_file);
  for (std::size_t i = 0; i < repositories.size(); ++i) {
    repository::remove_key_slot(repositories[i]->storage(), current[i]);
    result.removed.push_back(current[i]);
  }
  rename_durably(new_file, result.old_key_file);
  return result;
}

RotatedKey rotate_passphrase(const Repository& repository, const Credential& next) {
  const SlotId current = require_slot(repository);
  if (slot_of(repository, next)) {
    throw Error(ErrorKind::kRefused, "the new passphrase opens the repository already");
  }
  RotatedKey result;
  result.added.push_back(add_and_try(repository, next));
  repository::remove_key_slot(repository.storage(), current);
  result.removed.push_back(current);
  return result;
}

}  // namespace holdfast::stack
