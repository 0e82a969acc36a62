#include "repository/file_content.h"

#include <algorithm>

#include "repository/unpacked_chunks.h"

namespace holdfast::repository {

void read_content(const FileEntry& entry, ChunkReader& reader,
                  const std::function<void(base::ByteView)>& each) {
  constexpr std::size_t kZerosAtOnce = 1024 * 1024;
  UnpackedChunks chunks(reader);
  for (const Extent& extent : load_extents(entry, reader)) {
    if (extent.chunk.is_zero_range()) {
      const base::Bytes zeros(std::min<std::uint64_t>(extent.length_bytes, kZerosAtOnce));
      for (std::uint64_t left = extent.length_bytes; left > 0;) {
        const std::size_t part = std::min<std::uint64_t>(left, zeros.size());
        each(base::ByteView(zeros).first(part));
        left -= part;
      }
      continue;
    }
    each(chunks.read(extent));
  }
}

}  // namespace holdfast::repository
