// What a restore is going to do, settled and checked before a byte is written.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "files/details.h"
#include "repository/file_table.h"
#include "repository/record.h"

namespace holdfast::files {

// How messages call an entry: those of secrets never by its name.
class Shown {
 public:
  explicit Shown(bool secret) : secret_(secret) {}
  std::string operator()(std::string_view path) const {
    return secret_ ? "something of this component" : std::string(path);
  }
  bool secret() const { return secret_; }

 private:
  bool secret_;
};

struct RestorePlan {
  // In the order of the table: a directory stands before what is in it, the first name of a file
  // before its others. Of secrets with the rights that they get.
  std::vector<repository::FileEntry> entries;
  std::optional<FilesDetails> details;  // of backups of files
  std::uint64_t bytes = 0;              // of content, each file once
};

// kDamaged where the table asks for what cannot be, kNotFound where one of `only` names nothing.
RestorePlan plan_restore(const repository::BackupRecord& record,
                         const std::vector<std::string>& only, Shown shown,
                         repository::ChunkReader& reader);

// The entry of that path; null where there is none. The entries are in order.
const repository::FileEntry* find_entry(const std::vector<repository::FileEntry>& entries,
                                        std::string_view path);

// "a/b" of "a/b/c"; empty for what stands in the root.
std::string_view directory_of(std::string_view path);

// What the content of these files takes on a disk, without holes.
std::uint64_t content_bytes(const std::vector<repository::FileEntry>& entries,
                            repository::ChunkReader& reader);

}  // namespace holdfast::files
