#include "repository/index.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "base/error.h"
#include "repository/pack_format.h"
#include "repository/sealed_object.h"

namespace holdfast::repository {
namespace {

constexpr std::string_view kIndexPrefix = "index/";
constexpr std::string_view kPacksPrefix = "packs/";

// The id in a name that `make_name` would give; nullopt for another.
template <typename Id>
std::optional<Id> parse_name(std::string_view name, std::string (*make_name)(const Id&)) {
  Id id;
  const std::size_t digits = 2 * id.bytes.size();
  if (name.size() < digits || !base::from_hex(name.substr(name.size() - digits), id.bytes) ||
      make_name(id) != name) {
    return std::nullopt;
  }
  return id;
}

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

Index Index::load(const Context& context) {
  Index index;
  index.read_index_objects(context);
  index.match_packs(context);
  index.sort();
  return index;
}

void Index::read_index_objects(const Context& context) {
  std::vector<std::string> names;
  context.storage.list(kIndexPrefix,
                       [&](const storage::ObjectInfo& info) { names.push_back(info.name); });
  for (const std::string& name : names) {
    if (!parse_name<IndexId>(name, index_name)) {
      problems_.push_back({name, "is not the name of an index object"});
      continue;
    }
    try {
      const std::optional<base::Bytes> body = get_metadata(context, name, MetadataKind::kIndex);
      if (!body) continue;  // removed since it was listed
      for (const PackContents& contents : decode_index(*body)) add(contents);
    } catch (const base::Error& error) {
      if (!is_damage(error)) throw;
      problems_.push_back({name, error.what()});
    }
  }
}

// Marks the packs that are not in storage as the index says, and adopts those that it does not
// name.
void Index::match_packs(const Context& context) {
  std::map<PackId, std::uint64_t> found;  // and its size
  context.storage.list(kPacksPrefix, [&](const storage::ObjectInfo& info) {
    if (const auto id = parse_name<PackId>(info.name, pack_name)) {
      found.emplace(*id, info.size_bytes);
    } else {
      problems_.push_back({info.name, "is not the name of a pack"});
    }
  });
  for (PackEntry& pack : packs_) {
    const auto entry = found.find(pack.id);
    pack.present = entry != found.end() && entry->second == pack.size_bytes;
    if (entry == found.end()) {
      problems_.push_back({pack_name(pack.id), "is missing"});
    } else if (!pack.present) {
      problems_.push_back({pack_name(pack.id), fmt::format("has {} bytes and was put with {}",
                                                           entry->second, pack.size_bytes)});
    }
  }
  for (const PackEntry& pack : packs_) found.erase(pack.id);

  first_adopted_ = static_cast<std::uint32_t>(packs_.size());
  for (const auto& [id, size_bytes] : found) {
    try {
      adopted_.push_back(read_pack_directory(context, id, size_bytes).contents);
    } catch (const base::Error& error) {
      if (!is_damage(error)) throw;
      problems_.push_back({pack_name(id), error.what()});
      continue;
    }
    add(adopted_.back());
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
}

void Index::sort() {
  static_assert(sizeof(Slot) <= 64);
  const auto rank = [&](const Slot& slot) {
    const PackEntry& pack = packs_[slot.location.pack];
    return std::tuple(!pack.present, pack.pack_class != PackClass::kMetadata, slot.location.pack);
  };
  std::sort(slots_.begin(), slots_.end(), [&](const Slot& a, const Slot& b) {
    const int order = std::memcmp(a.id.bytes.data(), b.id.bytes.data(), a.id.bytes.size());
    return order != 0 ? order < 0 : rank(a) < rank(b);
  });
  slots_.erase(std::unique(slots_.begin(), slots_.end(),
                           [](const Slot& a, const Slot& b) { return a.id == b.id; }),
               slots_.end());
}

std::optional<std::size_t> Index::slot_of(const ChunkId& id) const {
  const auto place =
      std::lower_bound(slots_.begin(), slots_.end(), id, [](const Slot& slot, const ChunkId& key) {
        return std::memcmp(slot.id.bytes.data(), key.bytes.data(), key.bytes.size()) < 0;
      });
  if (place == slots_.end() || place->id != id) return std::nullopt;
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
  return pack.present && (pack_class == PackClass::kData || pack.pack_class == pack_class);
}

base::Bytes encode_index(std::span<const Index::PackContents> packs) {
  base::ByteWriter out;
  out.varint(packs.size());
  for (const Index::PackContents& contents : packs) {
    out.raw(contents.pack.id.bytes);
    out.u8(static_cast<std::uint8_t>(contents.pack.pack_class));
    out.u64(contents.pack.size_bytes);
    out.varint(contents.chunks.size());
    for (const Index::PackContents::Chunk& chunk : contents.chunks) write_chunk_entry(out, chunk);
  }
  return out.take();
}

std::vector<Index::PackContents> decode_index(base::ByteView body) {
  base::ByteReader in(body, "index");
  const std::size_t count = in.count(16 + 1 + 8 + 1);
  std::vector<Index::PackContents> packs;
  packs.reserve(count);
  for (std::size_t i = 0; i < count; ++i) packs.push_back(read_pack_contents(in));
  in.expect_end();
  return packs;
}

}  // namespace holdfast::repository
