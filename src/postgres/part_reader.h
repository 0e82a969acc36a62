// Puts parts of chunks together in a buffer.
#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "repository/unpacked_chunks.h"

namespace holdfast::postgres {

// An extent, and where its bytes stand in a buffer.
struct Part {
  std::size_t place = 0;
  repository::Extent extent;
};

// One per thread. A chunk that is wanted as a whole is unpacked to its place. Of those that are
// used in part the last ones are kept: an incremental backup takes the pages of a file from many
// chunks, and most of them again for the next stretch of the file.
class PartReader {
 public:
  // The reader outlives it.
  explicit PartReader(repository::ChunkReader& reader) : reader_(reader), chunks_(reader) {}

  // kDamaged where an extent reaches beyond its chunk.
  void read(std::span<const Part> parts, base::MutableByteView buffer);

 private:
  void read_chunk(std::span<const Part* const> parts, base::MutableByteView buffer);

  repository::ChunkReader& reader_;
  repository::UnpackedChunks chunks_;
  std::unordered_map<repository::ChunkId, std::size_t> ranks_;
  std::vector<std::pair<std::size_t, const Part*>> order_;
  std::vector<const Part*> of_chunk_;
};

}  // namespace holdfast::postgres
