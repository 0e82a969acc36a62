// The chunks that were used last, unpacked.
#pragma once

#include <list>
#include <unordered_map>

#include "repository/file_table.h"

namespace holdfast::repository {

// One per thread. Content whose extents go to and fro between some chunks unpacks each of them
// once. Those used in part are kept, 32 MiB of them; of those used as a whole the last one alone.
class UnpackedChunks {
 public:
  // The reader outlives it.
  explicit UnpackedChunks(ChunkReader& reader) : reader_(reader) {}
  UnpackedChunks(const UnpackedChunks&) = delete;
  UnpackedChunks& operator=(const UnpackedChunks&) = delete;

  // Authenticated, and good until the next call. Not of a range of zeros. kDamaged where the
  // extent reaches beyond its chunk.
  base::ByteView read(const Extent& extent);

 private:
  struct Kept {
    ChunkId id;
    base::Bytes content;
  };
  base::ByteView read_whole(const ChunkId& id, std::size_t length);
  base::ByteView keep(const ChunkId& id, std::size_t length);

  ChunkReader& reader_;
  std::list<Kept> kept_;  // the last used one first
  std::unordered_map<ChunkId, std::list<Kept>::iterator> places_;
  std::size_t kept_bytes_ = 0;
  base::Bytes whole_;  // the last one that was wanted as a whole
  ChunkId whole_id_;   // zero: none
};

}  // namespace holdfast::repository
