// Gathers a ChangeMap from many single changes, in any order and named many times over.
#pragma once

#include <cstddef>
#include <unordered_map>
#include <vector>

#include "postgres/change_map.h"

namespace holdfast::postgres {

class ChangeCollector {
 public:
  void change(const RelationId& relation, std::uint32_t block) {
    if (last_ == nullptr || relation != last_id_) look_up(relation);
    Entry& entry = *last_;
    if (!entry.blocks.empty() && entry.blocks.back() == block) return;
    entry.blocks.push_back(block);
    if (entry.blocks.size() >= entry.sort_at) shrink(entry);
  }
  void create(const RelationId& relation);
  void truncate(const RelationId& relation, std::uint32_t blocks_left);
  void drop(const RelationId& relation);
  void create(const DatabaseId& database);
  void drop(const DatabaseId& database);

  // Nullopt where there were more relations or databases than are kept. The collector is empty
  // then.
  std::optional<ChangeMap> take();

 private:
  static constexpr std::size_t kFirstSort = 64 * 1024;

  struct Entry {
    std::vector<std::uint32_t> blocks;  // in no order, some twice
    std::size_t sort_at = kFirstSort;
    RelationChanges changes;  // all but the blocks
  };
  struct Hash {
    std::size_t operator()(const RelationId& id) const;
  };

  void look_up(const RelationId& relation);
  Entry& entry_of(const RelationId& relation);
  bool has_room_for(const DatabaseId& database);
  static void shrink(Entry& entry);

  std::unordered_map<RelationId, Entry, Hash> relations_;
  std::map<DatabaseId, DatabaseChanges> databases_;
  RelationId last_id_;
  Entry* last_ = nullptr;  // of last_id_; the map's nodes stay where they are
  Entry surplus_;          // takes what is not kept
  bool too_many_ = false;
};

}  // namespace holdfast::postgres
