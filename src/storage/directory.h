// Objects as files below a directory. An object is written to a file without a name (or one in
// tmp/), fsynced, linked to its name (which fails if the name is taken), and the directories that
// changed are fsynced. Symbolic links below the directory are not followed.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "storage/storage.h"

namespace holdfast::storage {

struct DirectoryOptions {
  // Try O_DIRECT for writes of at least this size; buffered where the file system refuses it.
  std::size_t direct_from_bytes = 1024 * 1024;
  // False: write under a name in tmp/, as is done where the file system has no O_TMPFILE.
  bool unnamed_files = true;
};

// Opens an existing directory; kFailed if there is none. Objects that root creates get the owner
// and the group of the directory itself, so that a backup run by root leaves what the server's user
// can read.
std::unique_ptr<Storage> open_directory(const std::filesystem::path& root,
                                        DirectoryOptions options = {});

// Makes the directory (and its parents, 0750) where it is missing, then opens it.
std::unique_ptr<Storage> create_directory(const std::filesystem::path& root,
                                          DirectoryOptions options = {});

struct SpaceInfo {
  std::uint64_t free_bytes = 0;
  std::uint64_t total_bytes = 0;
};
SpaceInfo space_of(const std::filesystem::path& root);

}  // namespace holdfast::storage
