#include "repository/file_content.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "repository/pack_format.h"

namespace holdfast::repository {

void read_content(const FileEntry& entry, ChunkReader& reader,
                  const std::function<void(base::ByteView)>& each) {
  constexpr std::size_t kZerosAtOnce = 1024 * 1024;
  base::Bytes buffer;
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
    buffer.resize(kMaxChunkSize);
    const std::size_t length = reader.read(extent.chunk, buffer);
    if (extent.chunk_offset + extent.length_bytes > length) {
      throw base::Error(base::ErrorKind::kDamaged,
                        fmt::format("{}: an extent reaches beyond its chunk", entry.path));
    }
    each(base::ByteView(buffer).subspan(extent.chunk_offset, extent.length_bytes));
  }
}

}  // namespace holdfast::repository
