// Finds what of a file on disk is not as the backup has it.
#pragma once

#include <span>
#include <vector>

#include "postgres/part_reader.h"
#include "repository/chunk_hash.h"

namespace holdfast::postgres {

// One per thread. Pages are compared by the hashes in the directories of the packs, so that what is
// equal is neither fetched nor unpacked; what has none, by its chunk's id or by its content.
//
// Of a page's hash the directory has 8 bytes. The hash is keyed, and who can write to the disk need
// not know the key: two pages that differ are taken for equal once in 2^64, by accident alone.
class PartComparer {
 public:
  // They outlive it.
  PartComparer(const repository::Context& context, const repository::Index& index,
               repository::ChunkReader& reader);

  // Those of `parts`, or what of them is to be replaced, in their order. `there`: what the file
  // holds, with each part's bytes at its place.
  std::vector<Part> differing(std::span<const Part> parts, base::ByteView there);

 private:
  void compare(const Part& part, base::ByteView there, std::vector<Part>& differing);
  bool compare_pages(const Part& part, std::uint32_t chunk_length, base::ByteView there,
                     std::vector<Part>& differing);
  bool same_content(const Part& part, const repository::ChunkLocation& location,
                    base::ByteView there);

  const repository::Index& index_;
  repository::ChunkReader& reader_;
  repository::ChunkHasher hasher_;
};

}  // namespace holdfast::postgres
