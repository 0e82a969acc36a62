// The content that a file had in a backup before: a stretch of it in memory that moves along.
#pragma once

#include <vector>

#include "repository/unpacked_chunks.h"

namespace holdfast::repository {

// Places count its bytes without those that a writer would have to store again (Index::holds):
// they are left out, and so are never referred to. One per thread. Memory: the stretch (48 MiB),
// UnpackedChunks, 56 bytes an extent.
class OldContent {
 public:
  static constexpr std::uint64_t kAhead = 16 * 1024 * 1024;
  static constexpr std::uint64_t kBehind = 8 * 1024 * 1024;

  // Context and index outlive it. Empty where the extents cannot be read.
  OldContent(const Context& context, const Index& index, const FileEntry& before);
  OldContent(const OldContent&) = delete;
  OldContent& operator=(const OldContent&) = delete;

  std::uint64_t size() const { return size_; }
  // What is in memory.
  std::uint64_t begin() const { return begin_; }
  std::uint64_t end() const { return begin_ + buffer_.size(); }
  // [place, end()), where `place` is in [begin(), end()]. Good until the next fetch.
  base::ByteView from(std::uint64_t place) const;

  // Brings [place, place + ahead) into memory, as far as it exists; ahead is at most kAhead. As
  // long as it is called with rising places, each part is read once and kBehind bytes before
  // `place` stay. What cannot be read ends the content there: size() is less then.
  void fetch(std::uint64_t place, std::uint64_t ahead);

  // The extents of what was once in memory.
  void append_extents(std::uint64_t place, std::uint64_t length, std::vector<Extent>& out) const;
  std::uint32_t chunk_length(const ChunkId& id) const { return reader_.length(id); }

 private:
  struct Part {
    std::uint64_t begin = 0;
    Extent extent;
  };
  std::size_t part_at(std::uint64_t place) const;
  void load_next();

  ChunkReader reader_;
  UnpackedChunks chunks_{reader_};
  std::vector<Part> parts_;
  std::uint64_t size_ = 0;
  base::Bytes buffer_;
  std::uint64_t begin_ = 0;    // of the buffer
  std::size_t next_part_ = 0;  // the one that goes on at end()
};

}  // namespace holdfast::repository
