// The content of files: from the repository, or from a file that is there already.
#pragma once

#include <vector>

#include "files/restore_plan.h"
#include "repository/chunk_hash.h"
#include "repository/unpacked_chunks.h"

namespace holdfast::files {

// An extent and its place in the file.
struct FilePart {
  std::uint64_t offset = 0;
  repository::Extent extent;
};

// One per thread. Memory: three chunks and those that are kept unpacked.
class ContentSource {
 public:
  // They outlive it.
  ContentSource(const repository::Context& context, const repository::Index& index, Shown shown);

  std::vector<FilePart> parts_of(const repository::FileEntry& entry);
  // What the repository has, authenticated; good until the next call. Not of a range of zeros.
  base::ByteView read(const repository::Extent& extent);
  // What the file has there, if it is the same, good until the next call; else empty. Not of a
  // range of zeros.
  base::ByteView read_same(int fd, const FilePart& part);
  // Whether the file has zeros there.
  bool is_zero(int fd, const FilePart& part);

 private:
  bool is_same(const repository::Extent& extent, base::ByteView there);

  const repository::Index& index_;
  const Shown shown_;
  repository::ChunkReader reader_;
  repository::ChunkHasher hasher_;
  repository::UnpackedChunks chunks_;
  base::Bytes there_;
};

}  // namespace holdfast::files
