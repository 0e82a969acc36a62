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

// Creates every file of `files` (regular ones; they must not exist) and fills it. Each worker takes
// stretches of some 4 MiB, puts each together in memory and writes it at once. Returns what the
// manifest says of each. Nothing is fsynced yet.
std::vector<ManifestFile> restore_files(const repository::Context& context,
                                        const repository::Index& index,
                                        const std::vector<repository::FileEntry>& files,
                                        const TargetOf& target_of, int workers,
                                        base::Progress& progress, std::stop_token stop);

// The content of one small file.
base::Bytes read_small_file(const repository::FileEntry& file, repository::ChunkReader& reader);

}  // namespace holdfast::postgres
