// One regular file on its way back.
#pragma once

#include <atomic>
#include <optional>

#include "files/content_source.h"
#include "files/entry_rights.h"
#include "files/target_tree.h"

namespace holdfast::files {

// First compared, part by part, with what stands in its place, if that may be the same; else (or
// where a part differs) created and filled, part by part; then kept or published. Parts may be
// compared and filled by several threads at once, each with a ContentSource of its own.
class RestoredFile {
 public:
  // All outlive it. `own_links`: the names that the file has in the backup, if those that are there
  // are all of them one file; more names mean that it is another's too, and must not be changed.
  RestoredFile(TargetTree& tree, const repository::FileEntry& entry, DirectoryCursor& cursor,
               nlink_t own_links);

  // Of what stands there: the right size, and no names but its own.
  bool may_be_same() const { return may_be_same_; }
  bool is_same(const FilePart& part, ContentSource& source) const;
  // What stands there has the content already: its rights and times alone are set.
  void keep(RightsSetter& rights) const { rights.set(old_.get(), entry_); }

  void create();
  // Returns the bytes written. What is the same in the file that it replaces is taken from there.
  std::uint64_t fill(const FilePart& part, ContentSource& source) const;
  // Of a part that is no hole; good until the next call.
  base::ByteView content_of(const FilePart& part, ContentSource& source) const;
  // From here on write() goes past the page cache, where the file system can.
  void write_directly();
  // Whatever the place and length. What goes past the page cache are the whole blocks in it, if
  // `bytes` stand at an address that is aligned as `offset` is.
  void write(std::uint64_t offset, base::ByteView bytes) const;
  void publish(RightsSetter& rights);

  const repository::FileEntry& entry() const { return entry_; }

 private:
  void find_old(nlink_t own_links);

  TargetTree& tree_;
  const repository::FileEntry& entry_;
  Directory directory_;
  base::UniqueFd old_;  // what has its name, if that is a regular file
  std::uint64_t old_bytes_ = 0;
  bool may_be_same_ = false;
  std::optional<NewEntry> place_;
  base::UniqueFd new_;
  base::UniqueFd direct_;  // the same, past the page cache; or none
};

}  // namespace holdfast::files
