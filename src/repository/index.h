// Which chunk stands where. Held in memory for the length of a run: 64 bytes a chunk, about 65 MiB
// a TiB of distinct 1 MiB chunks.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "repository/ids.h"
#include "repository/repository.h"

namespace holdfast::repository {

enum class ChunkKind : std::uint8_t { kBytes = 0, kPages = 1 };
// kZstdPages: zstd over pages that were rearranged.
enum class Codec : std::uint8_t { kNone = 0, kZstd = 1, kZstdPages = 2 };
enum class PackClass : std::uint8_t { kData = 1, kMetadata = 2 };

struct ChunkLocation {
  std::uint32_t pack = 0;    // number in the index's table of packs
  std::uint32_t number = 0;  // in the pack: its nonce
  std::uint32_t offset = 0;
  std::uint32_t stored_length = 0;  // with the tag
  std::uint32_t length = 0;         // plain
  ChunkKind kind = ChunkKind::kBytes;
  Codec codec = Codec::kNone;
};

struct PackEntry {
  PackId id;
  PackClass pack_class = PackClass::kData;
  std::uint64_t size_bytes = 0;
  bool present = true;  // in storage, with this size
};

// Reading is thread-safe once loaded.
class Index {
 public:
  // Reads every index object, then the directory of every pack that none of them names (left by a
  // run that was killed, or of an index object that is lost). Objects that cannot be used are named
  // in problems() and left out; a pack that an index names and that is not in storage keeps its
  // number.
  static Index load(const Context& context);

  // In the best of the packs that hold it: one that is present, of the metadata class if there is
  // one.
  std::optional<ChunkLocation> find(const ChunkId& id) const;
  // True if a writer need not store the chunk again: it stands in a pack that is present and that
  // everyone can read who could read a new one of this class.
  bool holds(const ChunkId& id, PackClass pack_class) const;

  const PackEntry& pack(std::uint32_t number) const { return packs_[number]; }
  std::size_t pack_count() const { return packs_.size(); }

  struct PackContents {
    PackEntry pack;
    struct Chunk {
      ChunkId id;
      std::uint32_t stored_length = 0;
      std::uint32_t length = 0;
      ChunkKind kind = ChunkKind::kBytes;
      Codec codec = Codec::kNone;
    };
    std::vector<Chunk> chunks;  // in the order of the pack
  };
  // Packs that were found by their own directory alone. A run names them in its own index objects.
  const std::vector<PackContents>& adopted() const { return adopted_; }
  bool is_adopted(std::uint32_t pack_number) const { return pack_number >= first_adopted_; }

  struct Problem {
    std::string object;
    std::string what;
  };
  const std::vector<Problem>& problems() const { return problems_; }

  // What stands where, in the order of the chunks' ids; for verify, which marks what is needed.
  struct Slot {
    ChunkId id;
    ChunkLocation location;
  };
  const std::vector<Slot>& slots() const { return slots_; }
  std::optional<std::size_t> slot_of(const ChunkId& id) const;

 private:
  void read_index_objects(const Context& context);
  void match_packs(const Context& context);
  void add(const PackContents& contents);
  void sort();

  std::vector<Slot> slots_;  // sorted by id, the best pack first
  std::vector<PackEntry> packs_;
  std::vector<PackContents> adopted_;
  std::uint32_t first_adopted_ = UINT32_MAX;  // numbers from here on are adopted packs'
  std::vector<Problem> problems_;
};

base::Bytes encode_index(std::span<const Index::PackContents> packs);
// Everything in it is within the limits of the format. kDamaged if not.
std::vector<Index::PackContents> decode_index(base::ByteView body);

}  // namespace holdfast::repository
