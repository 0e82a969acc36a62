// Stores a stream of bytes, of whatever length, as chunks cut by content.
#pragma once

#include <vector>

#include "repository/chunk_writer.h"
#include "repository/content_cutter.h"
#include "repository/file_table.h"

namespace holdfast::repository {

// Appends [place, place + length) of a file to its extents: one that continues the
// one before it (a hole, or in the same chunk) joins it.
void append_extent(std::vector<Extent>& extents, const Extent& extent);

// One chunk of bytes, or of nothing where they are all zero.
Extent store_chunk(base::ByteView content, ChunkStore::Writer& writer);

// One per stream. Memory: some 8 MiB.
class ContentWriter {
 public:
  // Both outlive it.
  ContentWriter(const ContentCutter& cutter, ChunkStore::Writer& writer);

  void write(base::ByteView bytes);
  // What is left is stored; the extents of all that was written. Ranges of zeros are holes.
  std::vector<Extent> finish();
  std::uint64_t size_bytes() const { return size_bytes_; }

 private:
  void cut(bool to_the_end);

  const ContentCutter& cutter_;
  ChunkStore::Writer& writer_;
  base::Bytes waiting_;
  std::vector<Extent> extents_;
  std::uint64_t size_bytes_ = 0;
};

}  // namespace holdfast::repository
