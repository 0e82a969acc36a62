// Writes the regular files of a backup, several at once: the hot path of a restore.
#pragma once

#include <stop_token>
#include <vector>

#include "base/progress.h"
#include "files/entry_rights.h"
#include "files/target_tree.h"

namespace holdfast::files {

struct FilesToWrite {
  struct File {
    const repository::FileEntry* entry = nullptr;
    nlink_t own_links = 1;  // see RestoredFile
  };
  std::vector<File> files;  // in the order of the table
  int workers = 2;
};

// Small files are taken in runs, in their order, which is that of the chunks in the packs; of a
// large one each worker takes stretches. Nothing is fsynced yet. Returns the bytes written.
std::uint64_t write_files(const repository::Context& context, const repository::Index& index,
                          TargetTree& tree, const FilesToWrite& request, Shortfalls& shortfalls,
                          base::Progress& progress, const std::stop_token& stop);

}  // namespace holdfast::files
