// What a record of type files or secrets says beyond what all have in common: its `tree` object.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "files/tree.h"
#include "repository/record.h"

namespace holdfast::files {

inline constexpr std::string_view kFilesType = "files";
inline constexpr std::string_view kSecretsType = "secrets";
inline constexpr std::string_view kDetailsKey = "tree";

// Of secrets nothing that names a file is kept here: the object is shown by commands.
struct FilesDetails {
  std::string root;                  // files alone
  std::vector<std::string> include;  // files alone
  std::vector<std::string> exclude;  // files alone
  repository::FileEntry root_entry;  // rights, owner and times of the root; no path
  std::vector<Problem> lost;         // could not be read: not in the backup
  std::vector<Problem> changed;      // while they were read (there, perhaps mixed), or vanished
  std::vector<Problem> left_out;     // sockets, devices
  std::uint64_t files_lost = 0;      // = lost.size(), for secrets too
  std::uint64_t files_changed = 0;
  std::uint64_t files_left_out = 0;
  std::uint64_t files_reused = 0;  // unchanged since the backup before: not read

  // Everything that was to be in it is.
  bool is_good() const { return files_lost == 0; }
};

std::string details_to_json(const FilesDetails& details, bool secret);
// kDamaged where the record is of another type or the object is not right.
FilesDetails details_of(const repository::BackupSummary& summary);

}  // namespace holdfast::files
