// Owner, rights, times and extended attributes, as they were.
#pragma once

#include <sys/stat.h>

#include <string>
#include <unordered_map>
#include <vector>

#include "base/concurrency.h"
#include "files/target_tree.h"

namespace holdfast::files {

// What could not be set as it was. Thread-safe.
class Shortfalls {
 public:
  void add_owner() { ++counts_.lock()->owners; }
  void add_attribute(const std::string& name, int error);
  std::vector<std::string> as_warnings(Shown shown);

 private:
  struct Counts {
    std::uint64_t owners = 0;
    std::uint64_t attributes = 0;
    std::string first_attribute;
    int first_error = 0;
  };
  base::Guarded<Counts> counts_;
};

// One per thread: it keeps the owners it has looked up. Changes only what is not as it should be.
class RightsSetter {
 public:
  // Both outlive it.
  RightsSetter(const TargetTree& tree, Shortfalls& shortfalls);

  // Of an open file or directory.
  void set(int fd, const repository::FileEntry& entry);
  // Of a symbolic link or FIFO, by its name in a directory.
  void set(int directory, const std::string& name, const repository::FileEntry& entry);

 private:
  struct Owner {
    uid_t user = 0;
    gid_t group = 0;
  };
  struct Place;
  void set(const Place& place, const repository::FileEntry& entry);
  Owner owner_of(const repository::FileEntry& entry);
  // Both may change the mode on the way, and say so.
  struct Given {
    mode_t mode = 0;  // that the entry may have with the owner that it has now
    bool touched = false;
  };
  Given set_owner(const Place& place, const struct stat& now, const repository::FileEntry& entry);
  bool set_attributes(const Place& place, const repository::FileEntry& entry);

  const TargetTree& tree_;
  Shortfalls& shortfalls_;
  const bool is_root_;
  std::unordered_map<std::string, std::optional<uid_t>> users_;
  std::unordered_map<std::string, std::optional<gid_t>> groups_;
};

timespec modified_time(const repository::FileEntry& entry);

}  // namespace holdfast::files
