// The files below a root as they are now.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/file.h"
#include "files/selection.h"
#include "repository/file_table.h"

namespace holdfast::files {

// What could not be taken as it is.
struct Problem {
  std::string path;  // relative to the root; empty: the root itself
  std::string what;  // "permission denied", "it changed while it was read"
};

struct Tree {
  // In the order of a file table (bytes of the paths), with everything but content and extended
  // attributes. Directories on the way to what was asked for stand there too (on_the_way). Later
  // names of a file that has several carry hard_link.
  std::vector<repository::FileEntry> entries;
  repository::FileEntry root;  // its path is empty
  std::vector<Problem>
      unreadable;                 // directories that cannot be listed, names that cannot be stored
  std::vector<Problem> left_out;  // sockets, devices, and what is mounted from the kernel (proc)
};

// kNotFound where the root is no directory or not there; kPermission where it cannot be listed.
// Symbolic links are taken as links and never followed, but for the root itself. Any depth and any
// number of entries; what cannot be read goes to `unreadable`, and the rest is good.
Tree list_tree(const std::filesystem::path& root, const Selection& selection, std::stop_token stop);

// Of these patterns of `include` those that mean nothing in the tree: a name that was misspelt, or
// is no more.
std::vector<std::string> patterns_without_effect(const std::vector<std::string>& include,
                                                 const Tree& tree);

// An entry as lstat or fstat tells of it: type, rights, owner, times, size, sighting.
class EntryMaker {
 public:
  EntryMaker();
  ~EntryMaker();
  repository::FileEntry make(std::string path, const struct stat& status);

 private:
  struct Names;  // of users and groups, looked up once
  std::unique_ptr<Names> names_;
};

// Opens what is below a root without following any link on the way, whatever happens to the tree
// meanwhile. One per thread: it keeps the last directory open.
class TreeOpener {
 public:
  explicit TreeOpener(const std::filesystem::path& root);
  ~TreeOpener();

  // The directory in which `path` stands, for the *at() calls; valid until the next call.
  // The system's error as base::Error where it is not there (kNotFound) or a link is on the way.
  int parent(std::string_view path);
  // O_CLOEXEC and O_NOFOLLOW are added; -1 and errno as open(2).
  int open(std::string_view path, int flags);
  static std::string_view name_of(std::string_view path);  // its last part

 private:
  int parent_or_errno(std::string_view path);

  const std::filesystem::path root_path_;
  base::UniqueFd root_;
  base::UniqueFd directory_;
  std::string directory_path_;
};

}  // namespace holdfast::files
