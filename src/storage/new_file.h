// A file that has no object's name yet. Internal to the directory driver.
#pragma once

#include <string>

#include "storage/directory.h"
#include "storage/directory_tree.h"

namespace holdfast::storage {

// Written and synced first, then published under its name, whole. Without a publish() the
// destructor, or the kernel where the process is killed, leaves nothing; only one that has a name
// in tmp/ leaves that when it is killed, for remove_stale_files().
class NewFile {
 public:
  // `path` is the object's, for messages.
  NewFile(const DirectoryTree& tree, const DirectoryOptions& options, std::filesystem::path path);

  // Once; durable on return.
  void write(base::ByteView content);

  // False if the name is taken. Durable under its name on return.
  bool publish(const Place& place);

 private:
  // A name in tmp/, removed at the end.
  struct TemporaryName {
    ~TemporaryName();
    base::UniqueFd directory;
    std::string name;  // empty: none
  };

  bool open_unnamed();
  void open_named();
  void reserve(std::size_t size_bytes);
  bool set_direct(bool on);
  int link_to(const Place& place);

  const DirectoryTree& tree_;
  std::filesystem::path path_;
  std::size_t direct_from_bytes_;
  TemporaryName temporary_;
  base::UniqueFd fd_;
};

// Removes what killed runs left in tmp/ more than a day ago. What a run still holds, or what bears
// no name of ours, stays; what we have no right to remove too.
void remove_stale_files(const DirectoryTree& tree);

}  // namespace holdfast::storage
