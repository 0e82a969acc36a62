// A relation file of the cluster beside what a backup has of it, page by page, by the hashes of
// pages: the backup's content is not read.
#pragma once

#include <filesystem>
#include <unordered_map>

#include "base/file.h"
#include "postgres/cluster.h"
#include "postgres/page_places.h"
#include "repository/chunk_hash.h"
#include "repository/chunk_reader.h"

namespace holdfast::postgres {

// Used by one thread. What is given outlives it. Throws kDamaged where the repository has lost what
// it would compare with, kRefused where that is frozen.
class PageComparison {
 public:
  PageComparison(const repository::Context& context, const repository::Index& index,
                 const ClusterInfo& cluster);

  // False where the file is not there, or cannot be compared page by page. `before` stays as it is
  // until the next open().
  bool open(const repository::FileEntry& before);

  // Whole pages of the file, as many as there are.
  base::MutableByteView read(std::uint32_t first, base::MutableByteView pages) const;
  // False also for pages that the backup does not have.
  bool is_as_before(std::uint32_t page, base::ByteView content);
  // What the backup has; empty where it does not have the page. Needs a credential that can read.
  base::ByteView content_before(std::uint32_t page);

 private:
  // Of the chunks seen last: a scattered file comes back to some sixteen.
  static constexpr std::size_t kHashesKept = 256;

  std::vector<std::uint64_t> hashes_of(const repository::ChunkId& chunk);

  const repository::Index& index_;
  const ClusterInfo& cluster_;
  const std::size_t page_size_;
  repository::ChunkReader reader_;
  repository::ChunkHasher hasher_;
  std::unordered_map<std::uint32_t, std::vector<std::uint64_t>> hashes_;  // by the chunk's number
  repository::ChunkId unpacked_;
  base::Bytes chunk_;  // its content
  PagePlaces places_;
  const repository::FileEntry* open_ = nullptr;
  std::filesystem::path source_;
  base::UniqueFd fd_;
};

}  // namespace holdfast::postgres
