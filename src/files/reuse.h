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
// the paths. One of which the repository has lost a part is not given: its file is read again.
class Reuse {
 public:
  // Context and index outlive it. `why_not` says what kept the backup before from being read.
  Reuse(const repository::Context& context, const repository::Index& index,
        const repository::BackupRecord& before, std::string& why_not);

  // With extents and extended attributes of the entry before; nullptr where there is none to take.
  const repository::FileEntry* find(const repository::FileEntry& now);

 private:
  bool is_held(const repository::FileEntry& entry);

  const repository::Index& index_;
  repository::ChunkReader reader_;
  base::Time began_;
  std::vector<repository::FileEntry> entries_;
  std::size_t at_ = 0;
};

}  // namespace holdfast::files
