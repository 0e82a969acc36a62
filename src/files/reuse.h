// What an incremental backup takes over from the backup before.
#pragma once

#include <string>
#include <vector>

#include "repository/file_table.h"
#include "repository/index.h"
#include "repository/record.h"

namespace holdfast::files {

// Whether the entry of the backup before is the file that stands there now, by its times, size and
// inode. A change within the clock's granularity before the backup began may have come after the
// reading and left no trace: such a file is not the same.
bool is_same_file(const repository::FileEntry& before, const repository::FileEntry& now,
                  base::Time backup_began);

// The entries of the backup before that the new one can take as they are, asked for in the order of
// the paths. One of which the repository has lost a part is not given: its file is read again. The
// table is read piece by piece, and one piece of it is in memory.
class Reuse {
 public:
  // Context and index outlive it.
  Reuse(const repository::Context& context, const repository::Index& index,
        const repository::BackupRecord& before);

  // With extents and extended attributes of the entry before, good until the next call; nullptr
  // where there is none to take.
  const repository::FileEntry* find(const repository::FileEntry& now);
  // Why a part of the table could not be read; empty where all could.
  const std::string& damage() const { return damage_; }

 private:
  bool load_next_piece();
  bool is_held(const repository::FileEntry& entry);

  const repository::Index& index_;
  repository::ChunkReader reader_;
  const base::Time began_;
  const std::vector<repository::ChunkId> pieces_;
  std::size_t next_piece_ = 0;
  std::vector<repository::FileEntry> entries_;  // of the piece before
  std::size_t at_ = 0;
  std::string damage_;
};

}  // namespace holdfast::files
