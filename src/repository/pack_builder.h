// One pack while it is being filled: its chunks are sealed at their final places in one buffer.
// Internal to this folder.
#pragma once

#include <span>

#include "crypto/hash.h"
#include "repository/compression.h"
#include "repository/pack_format.h"

namespace holdfast::repository {

// A pack as it goes to storage.
struct FinishedPack {
  Index::PackContents contents;
  base::AlignedBuffer buffer;

  base::ByteView view() const { return {buffer.data(), contents.pack.size_bytes}; }
};

// Not thread-safe.
class PackBuilder {
 public:
  struct Input {
    ChunkId id;
    base::ByteView plain;
    std::uint32_t page_size = 0;  // 0: a chunk of bytes
    std::span<const crypto::Digest> page_hashes{};
  };

  // A new pack with a new id and key. `buffer` is of buffer_size() or larger; the context outlives
  // it.
  static PackBuilder start(const Context& context, PackClass pack_class,
                           base::AlignedBuffer buffer);

  // For packs that are closed at `pack_size`: room for the last chunk and the directory, and for at
  // least one chunk of any size.
  static std::size_t buffer_size(std::size_t pack_size);

  // Whether a chunk surely fits, with the directory that then follows.
  bool fits(std::size_t plain_length, std::size_t page_count) const;
  // Compresses straight to the chunk's place (or leaves it as it is, where that saves less than 3
  // %) and seals it there. It must fit.
  void add(const Input& input, Compressor& compressor);
  // A chunk of another pack, as it was compressed there. It must fit.
  void add_packed(const Index::PackContents::Chunk& chunk, const PackDirectory::Pages& pages,
                  base::ByteView packed);
  // Moves all chunks of another pack of the same class here, sealing them again; false, and nothing
  // done, where they don't fit.
  bool take_over(PackBuilder& other);

  bool empty() const { return contents_.chunks.empty(); }
  // What the pack takes as it stands, about.
  std::size_t size_bytes() const { return end_ + directory_.size(); }
  FinishedPack finish() &&;
  base::AlignedBuffer release_buffer() && { return std::move(buffer_); }

 private:
  PackBuilder(const Context& context, const PackId& id, PackClass pack_class,
              const NewPackHeader& header, base::AlignedBuffer buffer);
  // Seals what stands at `packed` (which may be its place) and counts it in.
  void append(const Index::PackContents::Chunk& chunk, base::ByteView packed);

  const Context* context_;
  base::AlignedBuffer buffer_;
  PackHeader header_;
  crypto::Aead aead_;
  ChunkAssociatedData associated_;
  Index::PackContents contents_;
  base::ByteWriter directory_;  // the entries
  std::size_t end_ = 0;         // of what is in the buffer
};

}  // namespace holdfast::repository
