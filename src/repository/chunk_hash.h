// The names of chunks and the hashes of their pages. "Chunk ids" in docs/format.md.
#pragma once

#include <span>
#include <vector>

#include "crypto/hash.h"
#include "repository/ids.h"

namespace holdfast::repository {

// Keeps the hash state of the key. Not thread-safe: one per thread.
class ChunkHasher {
 public:
  explicit ChunkHasher(const crypto::IdentityKey& identity);

  ChunkId bytes_id(base::ByteView content) const;
  // Whole pages; their hashes are in page_hashes() until the next call.
  ChunkId pages_id(base::ByteView pages, std::uint32_t page_size);
  std::span<const crypto::Digest> page_hashes() const { return page_hashes_; }
  // Of one page, as a pack's directory keeps it (ChunkReader::page_hashes).
  std::uint64_t short_hash_of_page(base::ByteView page);

 private:
  crypto::IdentityKey identity_;
  crypto::PrefixedHash page_hash_;
  std::vector<crypto::Digest> page_hashes_;
};

// The first 8 bytes, as a pack's directory keeps them.
std::uint64_t short_page_hash(const crypto::Digest& hash);

bool all_zero(base::ByteView bytes);

}  // namespace holdfast::repository
