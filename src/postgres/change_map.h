// What a stretch of WAL changed: which blocks of which relations, and which relations and databases
// came and went. One map is stored with each archived segment ("pg.blocks" in docs/format.md); an
// incremental backup joins the maps since the backup before it and reads only what they name.
//
// A map may name more than was changed, never less. It speaks of main forks alone: visibility maps,
// free space maps and init forks are not reliably logged, so a backup takes them whole.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace holdfast::postgres {

// RelFileLocator: where the files of a relation stand.
struct RelationId {
  std::uint32_t tablespace = 0;  // 1663: pg_default, 1664: pg_global
  std::uint32_t database = 0;    // 0: shared
  std::uint32_t number = 0;      // the relfilenode
  auto operator<=>(const RelationId&) const = default;
};

struct DatabaseId {
  std::uint32_t tablespace = 0;
  std::uint32_t database = 0;
  auto operator<=>(const DatabaseId&) const = default;
};

struct BlockRun {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  auto operator<=>(const BlockRun&) const = default;
};

struct RelationChanges {
  std::vector<BlockRun> blocks;  // ascending, neither touching nor overlapping
  // From here on everything counts as changed: pages that a truncation cut off may have come back
  // as zeros without a word in the WAL. 0 where the relation was created, or too much of it changed
  // to be listed.
  std::uint32_t whole_from = UINT32_MAX;
  bool created = false;
  bool truncated = false;
  bool dropped = false;
};

struct DatabaseChanges {
  bool created = false;  // its files may have been copied without a record for each block
  bool dropped = false;  // or moved away from this tablespace
};

struct ChangeMap {
  // Of one segment. One that holds more is not mapped.
  static constexpr std::size_t kMaxRelations = std::size_t{1} << 19;
  static constexpr std::size_t kMaxDatabases = std::size_t{1} << 16;

  std::map<RelationId, RelationChanges> relations;
  std::map<DatabaseId, DatabaseChanges> databases;

  // The union; what is dropped and created again counts as created.
  void add(const ChangeMap& other);
};

}  // namespace holdfast::postgres
