// Puts parts of chunks together in a buffer.
#pragma once

#include <list>
#include <span>
#include <unordered_map>
#include <vector>

#include "repository/file_table.h"

namespace holdfast::postgres {

// An extent, and where its bytes stand in a buffer.
struct Part {
  std::size_t place = 0;
  repository::Extent extent;
};

// One per thread. A chunk that is wanted as a whole is unpacked to its place. Of those that are
// used in part the last ones are kept (32 MiB): an incremental backup takes the pages of a file
// from many chunks, and most of them again for the next stretch of the file.
class PartReader {
 public:
  // The reader outlives it.
  explicit PartReader(repository::ChunkReader& reader) : reader_(reader) {}

  // kDamaged where an extent reaches beyond its chunk.
  void read(std::span<const Part> parts, base::MutableByteView buffer);

 private:
  struct Kept {
    repository::ChunkId id;
    base::Bytes content;
  };
  void read_chunk(std::span<const Part* const> parts, base::MutableByteView buffer);
  const base::Bytes& unpacked(const repository::ChunkId& id);

  repository::ChunkReader& reader_;
  std::unordered_map<repository::ChunkId, std::size_t> ranks_;
  std::vector<std::pair<std::size_t, const Part*>> order_;
  std::vector<const Part*> of_chunk_;
  std::list<Kept> kept_;  // the last used one first
  std::unordered_map<repository::ChunkId, std::list<Kept>::iterator> places_;
  std::size_t kept_bytes_ = 0;
};

}  // namespace holdfast::postgres
