// Packs that are to be removed. A prune names them in a tombstone, and a later one removes them:
// who loads the index in between does not build on them, and who loaded it before is waited for.
// "Removing" in docs/format.md.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "repository/repository.h"

namespace holdfast::repository {

struct Tombstone {
  TombstoneId id;
  base::Time put;  // by the storage's clock
  std::vector<PackId> packs;
};

struct TombstoneList {
  std::vector<Tombstone> tombstones;
  std::vector<std::pair<std::string, std::string>> damaged;  // object, and what is wrong with it
};

TombstoneList list_tombstones(const Context& context);
void put_tombstone(const Context& context, std::span<const PackId> packs);

base::Bytes encode_tombstone(std::span<const PackId> packs);
std::vector<PackId> decode_tombstone(base::ByteView body);  // kDamaged

}  // namespace holdfast::repository
