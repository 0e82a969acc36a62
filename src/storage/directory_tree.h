// The directories of a repository on a file system: finding them, making them durably, and errors
// that tell the user what stands in the way. Internal to the directory driver.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/file.h"
#include "storage/storage.h"

namespace holdfast::storage {

// The error of a system call that failed on `path`, with a hint about the rights where they are the
// reason.
base::Error path_error(int errno_value, std::string_view doing, const std::filesystem::path& path);

// The error for a symbolic link where a repository has a directory or an object.
base::Error link_error(const std::filesystem::path& path);

void sync_directory(const base::UniqueFd& directory, const std::filesystem::path& path);

// Where an object's file stands: its directory and its name there.
struct Place {
  base::UniqueFd directory;
  std::string file;
};

// Thread-safe. Descends one directory at a time without following symbolic links, so that nobody
// who can write to the repository leads a backup that runs as root out of it.
class DirectoryTree {
 public:
  explicit DirectoryTree(std::filesystem::path root);

  const std::filesystem::path& root() const { return root_; }
  int root_fd() const { return fd_.get(); }
  std::filesystem::path path_of(std::string_view name) const { return root_ / name; }

  // Nullopt where a directory on the way does not exist. `flags`: O_PATH, or O_RDONLY to fsync it.
  std::optional<Place> find(std::string_view name, int flags) const;
  // Makes what is missing; the directories on the way are durable on return, so no object ever
  // stands in one that is not.
  Place make(std::string_view name);

  // Nullopt where `name` does not exist in `parent`, or is no directory.
  std::optional<base::UniqueFd> open_directory(int parent, const std::string& name, int flags,
                                               const std::filesystem::path& path) const;
  // Makes a directory if it is missing; not yet durable. True if it was made.
  bool make_directory(int parent, const std::string& name, const std::filesystem::path& path) const;

  // The rights, and as root the owner, that what we create shall have.
  void set_rights(int fd, mode_t mode, const std::filesystem::path& path) const;

  // Every object below `prefix`, sorted by name.
  void list(std::string_view prefix, const std::function<void(const ObjectInfo&)>& each) const;

 private:
  base::UniqueFd open_root(int flags) const;
  void list_in(const base::UniqueFd& directory, const std::string& prefix,
               const std::function<void(const ObjectInfo&)>& each) const;

  std::filesystem::path root_;
  base::UniqueFd fd_;
  struct stat root_stat_;
  // Directories whose entry in their parent is known to be durable. Another process may have made
  // one and died before it fsynced the parent, so each is seen to once.
  base::Guarded<std::set<std::string, std::less<>>> durable_;
};

ObjectInfo object_info(std::string name, const struct stat& status);

}  // namespace holdfast::storage
