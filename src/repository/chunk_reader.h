// Gives chunks back, each authenticated before a byte of it is used.
#pragma once

#include <memory>
#include <span>

#include "repository/index.h"

namespace holdfast::repository {

// One per thread: keeps buffers, a decompressor and the keys of the packs it has seen last. Context
// and index outlive it. A chunk that is missing or does not authenticate is kDamaged, naming pack
// and chunk. Chunks that are read in the order of their pack are fetched some at a time. The id of
// a range of zero bytes is no chunk's: to ask for it is a mistake in the program.
class ChunkReader {
 public:
  ChunkReader(const Context& context, const Index& index);
  ~ChunkReader();
  ChunkReader(ChunkReader&&) noexcept;

  std::uint32_t length(const ChunkId& id) const;
  std::optional<std::uint32_t> find_length(const ChunkId& id) const;  // nullopt: no pack holds it
  // The plain content into `out` (capacity at least length()); returns the length.
  std::size_t read(const ChunkId& id, base::MutableByteView out);
  base::Bytes read(const ChunkId& id);
  // Like read, and compares content and the pack's directory with the id: for verify.
  std::size_t read_and_check_id(const ChunkId& id, base::MutableByteView out);
  // The first 8 bytes of each page's hash, from the pack's directory; empty for a chunk of bytes.
  std::vector<std::uint64_t> page_hashes(const ChunkId& id);  // a write-only credential may ask

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::repository
