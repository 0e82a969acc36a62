// The names of things in a repository, each a type of its own.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "crypto/kdf.h"

namespace holdfast::repository {

// A keyed hash of a chunk's content. All zero stands for a range of zero bytes.
struct ChunkId {
  std::array<std::uint8_t, 32> bytes{};
  auto operator<=>(const ChunkId&) const = default;
  bool is_zero_range() const { return *this == ChunkId{}; }
};

// 16 random bytes; of a role each, so that a pack's id is not passed for an index's.
template <typename Role>
struct RandomId {
  std::array<std::uint8_t, 16> bytes{};
  auto operator<=>(const RandomId&) const = default;

  std::string hex() const { return base::to_hex(bytes); }
  static RandomId make(crypto::Random& random) {
    RandomId id;
    random.fill(id.bytes);
    return id;
  }
};

using RepositoryId = RandomId<struct RepositoryRole>;
using PackId = RandomId<struct PackRole>;
using IndexId = RandomId<struct IndexRole>;
using SlotId = RandomId<struct SlotRole>;
using LockId = RandomId<struct LockRole>;
using ReportId = RandomId<struct ReportRole>;
using TombstoneId = RandomId<struct TombstoneRole>;

std::string pack_name(const PackId& id);            // packs/xx/ID
std::string index_name(const IndexId& id);          // index/ID
std::string tombstone_name(const TombstoneId& id);  // tombstones/ID

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

}  // namespace holdfast::repository

template <>
struct std::hash<holdfast::repository::ChunkId> {
  std::size_t operator()(const holdfast::repository::ChunkId& id) const noexcept {
    std::size_t value;  // the id is a keyed hash already
    std::memcpy(&value, id.bytes.data(), sizeof value);
    return value;
  }
};
