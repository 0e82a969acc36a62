// Which chunk stands where. Held in memory for the length of a run: 64 bytes a chunk, about 65 MiB
// a TiB of distinct 1 MiB chunks.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "repository/ids.h"
#include "repository/repository.h"
#include "repository/tombstone.h"

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
  bool present = true;            // in storage, with this size
  bool missing = false;           // no object has its name
  bool condemned = false;         // a tombstone names it: a prune will remove it
  std::uint64_t chunk_bytes = 0;  // all its chunks as stored
  base::Time modified{};          // when it was put, by the storage's clock
  std::string storage_class{};    // as ObjectInfo has it
};

// Reading is thread-safe once loaded.
class Index {
 public:
  // Reads the tombstones, every index object, then the directory of every pack that none of these
  // names (left by a run that was killed, or of an index object that is lost). Objects that cannot
  // be used are named in problems() and left out; a pack that an index names and that is not in
  // storage keeps its number. A prune may be at work beside it.
  static Index load(const Context& context);

  // In the best of the packs that hold it: one that is present, of the metadata class if there is
  // one, not condemned if there is one.
  std::optional<ChunkLocation> find(const ChunkId& id) const;
  // True if a writer need not store the chunk again: it stands in a pack that is present and that
  // everyone can read who could read a new one of this class, and that no prune will remove.
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
  // Packs that were found by their own directory alone, but for condemned ones. A run names them in
  // its own index objects.
  const std::vector<PackContents>& adopted() const { return adopted_; }
  bool is_adopted(std::uint32_t pack_number) const { return pack_number >= first_adopted_; }

  // An index object, and the packs that it names: these numbers in the table.
  struct Object {
    IndexId id;
    std::uint32_t first_pack = 0;
    std::uint32_t pack_count = 0;
    std::size_t chunk_count = 0;
    std::vector<IndexId> replaces{};  // it holds all that was worth keeping of these
  };
  const std::vector<Object>& objects() const { return objects_; }
  // Whether another object stands in its place: it may be missing.
  bool is_replaced(const IndexId& id) const { return replaced_.contains(id); }
  const std::vector<Tombstone>& tombstones() const { return tombstones_; }

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
  void read_tombstones(const Context& context);
  bool read_index_objects(const Context& context);
  void read_index_object(const std::string& name, base::ByteView body);
  void match_packs(const Context& context);
  void adopt(const Context& context, const PackId& id, const storage::ObjectInfo& info);
  void add(const PackContents& contents);
  void sort();

  std::vector<Slot> slots_;  // sorted by id, the best pack first
  // Where the slots begin whose ids' first 16 bits are at least n: ids are as good as random, so
  // this halves a search as often as sixteen comparisons would.
  std::vector<std::uint32_t> starts_;
  std::vector<PackEntry> packs_;
  std::vector<PackContents> adopted_;
  std::vector<Object> objects_;
  std::set<IndexId> replaced_;
  std::vector<Tombstone> tombstones_;
  std::set<PackId> condemned_;
  std::uint32_t first_adopted_ = UINT32_MAX;  // numbers from here on are adopted packs'
  std::vector<Problem> problems_;
};

// Puts an index object that names these packs, which are in storage.
IndexId put_index(const Context& context, std::span<const Index::PackContents> packs,
                  std::span<const IndexId> replaces = {}, std::uint64_t* stored_bytes = nullptr);

// `replaces`: index objects of which this one holds all that was worth keeping.
base::Bytes encode_index(std::span<const Index::PackContents> packs,
                         std::span<const IndexId> replaces = {});
// Everything in it is within the limits of the format. kDamaged if not.
std::vector<Index::PackContents> decode_index(base::ByteView body,
                                              std::vector<IndexId>* replaces = nullptr);

}  // namespace holdfast::repository
