#include "repository/index.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "base/error.h"
#include "repository/fields.h"
#include "repository/pack_format.h"
#include "repository/sealed_object.h"
#include "storage/storage_class.h"

namespace holdfast::repository {
namespace {

constexpr std::string_view kIndexPrefix = "index/";
constexpr std::string_view kPacksPrefix = "packs/";
constexpr int kMostReadings = 10;  // of the index objects, while others replace them

constexpr std::size_t kBuckets = std::size_t{1} << 16;
std::size_t first_bits(const ChunkId& id) { return std::size_t{id.bytes[0]} << 8 | id.bytes[1]; }

[[noreturn]] void throw_damaged_body(std::string_view problem) {
  throw base::Error(base::ErrorKind::kDamaged, fmt::format("index: {}", problem));
}

Index::PackContents read_pack_contents(base::ByteReader& in) {
  Index::PackContents contents;
  const base::ByteView id = in.raw(contents.pack.id.bytes.size());
  std::copy(id.begin(), id.end(), contents.pack.id.bytes.begin());
  const std::uint8_t pack_class = in.u8();
  if (pack_class != static_cast<std::uint8_t>(PackClass::kData) &&
      pack_class != static_cast<std::uint8_t>(PackClass::kMetadata)) {
    throw_damaged_body("a pack is of an unknown class");
  }
  contents.pack.pack_class = static_cast<PackClass>(pack_class);
  contents.pack.size_bytes = in.u64();
  if (contents.pack.size_bytes > kMaxPackSize) throw_damaged_body("a pack is too long");
  const std::size_t count = in.count(32 + 1 + 1 + 1 + 1);
  if (count > kMaxPackChunks) throw_damaged_body("a pack has too many chunks");
  contents.chunks.reserve(count);
  std::uint64_t end = kPackHeaderSize;
  for (std::size_t i = 0; i < count; ++i) {
    contents.chunks.push_back(read_chunk_entry(in, "index"));
    end += contents.chunks.back().stored_length;
  }
  if (end + crypto::kTagSize + kPackFooterSize > contents.pack.size_bytes) {
    throw_damaged_body("a pack's chunks are longer than the pack");
  }
  return contents;
}

}  // namespace

// A prune puts its tombstone before it removes a pack, and index objects without that pack before
// it removes the tombstone. So tombstones are read first: a pack that an index object names is
// either there or known to be condemned.
Index Index::load(const Context& context) {
  for (int attempt = 1;; ++attempt) {
    Index index;
    index.read_tombstones(context);
    if (!index.read_index_objects(context) && attempt < kMostReadings) continue;
    index.match_packs(context);
    index.sort();
    return index;
  }
}

void Index::read_tombstones(const Context& context) {
  TombstoneList list = list_tombstones(context);
  for (auto& [object, what] : list.damaged) problems_.push_back({object, what});
  tombstones_ = std::move(list.tombstones);
  for (const Tombstone& tombstone : tombstones_) {
    condemned_.insert(tombstone.packs.begin(), tombstone.packs.end());
  }
}

// False if one was removed since it was listed: what stands in its place may have been put behind
// the listing.
bool Index::read_index_objects(const Context& context) {
  std::vector<std::string> names;
  context.storage.list(kIndexPrefix,
                       [&](const storage::ObjectInfo& info) { names.push_back(info.name); });
  std::erase_if(names, [&](const std::string& name) {
    if (parse_name<IndexId>(name, index_name)) return false;
    problems_.push_back({name, "is not the name of an index object"});
    return true;
  });
  bool all = true;
  get_all_metadata(context, names, MetadataKind::kIndex, [&](FetchedMetadata& fetched) {
    if (fetched.damage) {
      problems_.push_back({fetched.name, fetched.damage->what()});
    } else if (!fetched.body) {
      all = false;
    } else {
      read_index_object(fetched.name, *fetched.body);
    }
  });
  return all;
}

void Index::read_index_object(const std::string& name, base::ByteView body) {
  try {
    Object object{.id = *parse_name<IndexId>(name, index_name),
                  .first_pack = static_cast<std::uint32_t>(packs_.size())};
    for (const PackContents& contents : decode_index(body, &object.replaces)) {
      add(contents);
      object.chunk_count += contents.chunks.size();
    }
    object.pack_count = static_cast<std::uint32_t>(packs_.size()) - object.first_pack;
    replaced_.insert(object.replaces.begin(), object.replaces.end());
    objects_.push_back(std::move(object));
  } catch (const base::Error& error) {
    if (!is_damage(error)) throw;
    problems_.push_back({name, error.what()});
  }
}

// Marks the packs that are not in storage as the index says, and adopts those that it does not
// name.
void Index::match_packs(const Context& context) {
  std::map<PackId, storage::ObjectInfo> found;
  context.storage.list(kPacksPrefix, [&](const storage::ObjectInfo& info) {
    if (const auto id = parse_name<PackId>(info.name, pack_name)) {
      found.emplace(*id, info);
    } else {
      problems_.push_back({info.name, "is not the name of a pack"});
    }
  });
  for (PackEntry& pack : packs_) {
    const auto entry = found.find(pack.id);
    pack.condemned = condemned_.contains(pack.id);
    pack.present = entry != found.end() && entry->second.size_bytes == pack.size_bytes;
    pack.missing = entry == found.end();
    if (!pack.missing) {
      pack.modified = entry->second.modified;
      pack.storage_class = entry->second.storage_class;
    }
    if (pack.missing) {
      if (!pack.condemned) problems_.push_back({pack_name(pack.id), "is missing"});
    } else if (!pack.present) {
      problems_.push_back(
          {pack_name(pack.id), fmt::format("has {} bytes and was put with {}",
                                           entry->second.size_bytes, pack.size_bytes)});
    }
  }
  for (const PackEntry& pack : packs_) found.erase(pack.id);
  first_adopted_ = static_cast<std::uint32_t>(packs_.size());
  for (const auto& [id, info] : found) adopt(context, id, info);
}

void Index::adopt(const Context& context, const PackId& id, const storage::ObjectInfo& info) {
  try {
    PackContents contents = read_pack_directory(context, id, info.size_bytes).contents;
    contents.pack.condemned = condemned_.contains(id);
    contents.pack.modified = info.modified;
    contents.pack.storage_class = info.storage_class;
    add(contents);
    if (!contents.pack.condemned) adopted_.push_back(std::move(contents));
  } catch (const base::Error& error) {
    const bool frozen =
        error.kind() == base::ErrorKind::kRefused && storage::may_be_frozen(info.storage_class);
    if (!is_damage(error) && !frozen) throw;
    if (!context.storage.stat(info.name)) return;  // a prune has removed it since it was listed
    problems_.push_back(
        {info.name, frozen ? "is frozen, and no index object says what it holds" : error.what()});
  }
}

// Two index objects may name the same pack: its chunks are then there twice, until sort().
void Index::add(const PackContents& contents) {
  const auto pack = static_cast<std::uint32_t>(packs_.size());
  packs_.push_back(contents.pack);
  std::uint32_t number = 0;
  std::size_t offset = kPackHeaderSize;
  for (const PackContents::Chunk& chunk : contents.chunks) {
    slots_.push_back({chunk.id,
                      {pack, number++, static_cast<std::uint32_t>(offset), chunk.stored_length,
                       chunk.length, chunk.kind, chunk.codec}});
    offset += chunk.stored_length;
  }
  packs_.back().chunk_bytes = offset - kPackHeaderSize;
}

void Index::sort() {
  static_assert(sizeof(Slot) <= 64);
  const auto rank = [&](const Slot& slot) {
    const PackEntry& pack = packs_[slot.location.pack];
    return std::tuple(!pack.present, pack.pack_class != PackClass::kMetadata, pack.condemned,
                      slot.location.pack);
  };
  std::sort(slots_.begin(), slots_.end(), [&](const Slot& a, const Slot& b) {
    const int order = std::memcmp(a.id.bytes.data(), b.id.bytes.data(), a.id.bytes.size());
    return order != 0 ? order < 0 : rank(a) < rank(b);
  });
  slots_.erase(std::unique(slots_.begin(), slots_.end(),
                           [](const Slot& a, const Slot& b) { return a.id == b.id; }),
               slots_.end());
  starts_.assign(kBuckets + 1, 0);
  for (const Slot& slot : slots_) ++starts_[first_bits(slot.id) + 1];
  std::partial_sum(starts_.begin(), starts_.end(), starts_.begin());
}

std::optional<std::size_t> Index::slot_of(const ChunkId& id) const {
  if (slots_.empty()) return std::nullopt;
  const std::size_t bucket = first_bits(id);
  const auto begin = slots_.begin() + starts_[bucket];
  const auto end = slots_.begin() + starts_[bucket + 1];
  const auto place = std::lower_bound(begin, end, id, [](const Slot& slot, const ChunkId& key) {
    return std::memcmp(slot.id.bytes.data(), key.bytes.data(), key.bytes.size()) < 0;
  });
  if (place == end || place->id != id) return std::nullopt;
  return static_cast<std::size_t>(place - slots_.begin());
}

std::optional<ChunkLocation> Index::find(const ChunkId& id) const {
  const std::optional<std::size_t> slot = slot_of(id);
  if (!slot) return std::nullopt;
  return slots_[*slot].location;
}

bool Index::holds(const ChunkId& id, PackClass pack_class) const {
  const std::optional<std::size_t> slot = slot_of(id);
  if (!slot) return false;
  const PackEntry& pack = packs_[slots_[*slot].location.pack];
  return pack.present && !pack.condemned &&
         (pack_class == PackClass::kData || pack.pack_class == pack_class);
}

IndexId put_index(const Context& context, std::span<const Index::PackContents> packs,
                  std::span<const IndexId> replaces, std::uint64_t* stored_bytes) {
  const IndexId id = IndexId::make(context.random);
  const std::string name = index_name(id);
  if (put_metadata(context, name, MetadataKind::kIndex, encode_index(packs, replaces),
                   stored_bytes) != storage::PutResult::kCreated) {
    throw base::Error(base::ErrorKind::kFailed,
                      fmt::format("{}: the name is taken, though it is random", name));
  }
  return id;
}

base::Bytes encode_index(std::span<const Index::PackContents> packs,
                         std::span<const IndexId> replaces) {
  base::ByteWriter out;
  out.varint(packs.size());
  for (const Index::PackContents& contents : packs) {
    out.raw(contents.pack.id.bytes);
    out.u8(static_cast<std::uint8_t>(contents.pack.pack_class));
    out.u64(contents.pack.size_bytes);
    out.varint(contents.chunks.size());
    for (const Index::PackContents::Chunk& chunk : contents.chunks) write_chunk_entry(out, chunk);
  }
  if (replaces.empty()) return out.take();
  out.varint(replaces.size());
  for (const IndexId& id : replaces) out.raw(id.bytes);
  return out.take();
}

std::vector<Index::PackContents> decode_index(base::ByteView body, std::vector<IndexId>* replaces) {
  base::ByteReader in(body, "index");
  const std::size_t count = in.count(16 + 1 + 8 + 1);
  std::vector<Index::PackContents> packs;
  packs.reserve(count);
  for (std::size_t i = 0; i < count; ++i) packs.push_back(read_pack_contents(in));
  if (in.left() > 0) {
    std::vector<IndexId> ids(in.count(sizeof(IndexId::bytes)));
    if (ids.empty()) throw_damaged_body("it replaces none");
    for (IndexId& id : ids) id.bytes = read_array<16>(in);
    if (replaces != nullptr) *replaces = std::move(ids);
  }
  in.expect_end();
  return packs;
}

}  // namespace holdfast::repository
