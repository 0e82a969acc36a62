// Writes the files of a backup in parallel: the hot path of a restore.
#pragma once

#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "postgres/manifest.h"
#include "repository/file_table.h"

namespace holdfast::postgres {

// Gives a new file or directory its owner: names first, numbers where a name is not known here.
// Does nothing unless this is root.
class Ownership {
 public:
  void apply(const std::filesystem::path& path, const repository::FileEntry& entry) const;
};

// Where a file of the backup goes.
using TargetOf = std::function<std::filesystem::path(const repository::FileEntry&)>;

struct FilesToRestore {
  const std::vector<repository::FileEntry>& files;  // regular ones
  TargetOf target_of;
  // What is there already (a regular file, or nothing) is compared, and only what differs is
  // written. Else nothing may be there.
  bool over = false;
  int workers = 2;
};

struct RestoredFiles {
  std::vector<ManifestFile> manifest;  // what it says of each, in their order
  std::uint64_t bytes_written = 0;
};

// Each worker takes stretches of some 4 MiB, puts each together in memory and writes it at once.
// Nothing is fsynced yet.
RestoredFiles restore_files(const repository::Context& context, const repository::Index& index,
                            const FilesToRestore& request, base::Progress& progress,
                            std::stop_token stop);

}  // namespace holdfast::postgres
