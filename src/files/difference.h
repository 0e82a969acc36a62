// What changed between two backups, or between a backup and now.
#pragma once

#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repository/record.h"
#include "repository/repository.h"

namespace holdfast::files {

struct Difference {
  enum class Kind { kAdded, kRemoved, kChanged };
  Kind kind = Kind::kChanged;
  std::string path;
  // Of what changed: "content", "size 12 to 14", "mode 0644 to 0600", "owner", "time", "type",
  // "target", "attributes".
  std::vector<std::string> what = {};
};

// In the order of the paths, from `before` to `after`. Works for records of any type; for those of
// PostgreSQL a file counts as changed where its extents are others.
std::vector<Difference> compare_backups(const repository::Context& context,
                                        const repository::BackupRecord& before,
                                        const repository::BackupRecord& after);

// From the backup to the files below `root` as they are now: content is read and compared where
// times or size differ, or the file is not the one that was seen. What cannot be read is told in
// `unreadable`.
struct NowComparison {
  std::vector<Difference> differences;
  std::vector<std::string> unreadable;
};
struct NowRequest {
  std::filesystem::path root;
  std::vector<std::string> include;
  std::vector<std::string> exclude;
};
NowComparison compare_with_now(const repository::Context& context,
                               const repository::BackupRecord& before, const NowRequest& request,
                               base::Progress& progress, std::stop_token stop);

}  // namespace holdfast::files
