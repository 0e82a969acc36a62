// The content of a file of a backup.
#pragma once

#include <functional>

#include "repository/file_table.h"

namespace holdfast::repository {

// In order, each piece at most 4 MiB and already authenticated; holes come as zeros. kDamaged where
// an extent reaches beyond its chunk.
void read_content(const FileEntry& entry, ChunkReader& reader,
                  const std::function<void(base::ByteView)>& each);

}  // namespace holdfast::repository
