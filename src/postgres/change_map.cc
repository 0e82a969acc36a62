#include "postgres/change_map.h"

#include <algorithm>

namespace holdfast::postgres {
namespace {

std::uint64_t end_of(const BlockRun& run) { return std::uint64_t{run.first} + run.count; }

// The union of both, without what `whole_from` covers anyway.
std::vector<BlockRun> join(const std::vector<BlockRun>& a, const std::vector<BlockRun>& b,
                           std::uint32_t whole_from) {
  std::vector<BlockRun> joined;
  joined.reserve(a.size() + b.size());
  auto next_a = a.begin();
  auto next_b = b.begin();
  while (next_a != a.end() || next_b != b.end()) {
    const bool from_a = next_b == b.end() || (next_a != a.end() && next_a->first <= next_b->first);
    const BlockRun run = from_a ? *next_a++ : *next_b++;
    if (run.first >= whole_from) break;
    const std::uint64_t end = std::min<std::uint64_t>(end_of(run), whole_from);
    if (joined.empty() || run.first > end_of(joined.back())) {
      joined.push_back({run.first, static_cast<std::uint32_t>(end - run.first)});
    } else if (end > end_of(joined.back())) {
      joined.back().count = static_cast<std::uint32_t>(end - joined.back().first);
    }
  }
  return joined;
}

void join(RelationChanges& mine, const RelationChanges& other) {
  const std::uint32_t whole_from = std::min(mine.whole_from, other.whole_from);
  if (!other.blocks.empty() || whole_from != mine.whole_from) {
    mine.blocks = join(mine.blocks, other.blocks, whole_from);
  }
  mine.whole_from = whole_from;
  mine.created |= other.created;
  mine.truncated |= other.truncated;
  mine.dropped = !mine.created && (mine.dropped || other.dropped);
}

}  // namespace

void ChangeMap::add(const ChangeMap& other) {
  for (const auto& [id, changes] : other.relations) {
    const auto [mine, is_new] = relations.try_emplace(id, changes);
    if (!is_new) join(mine->second, changes);
  }
  for (const auto& [id, changes] : other.databases) {
    DatabaseChanges& mine = databases[id];
    mine.created |= changes.created;
    mine.dropped = !mine.created && (mine.dropped || changes.dropped);
  }
}

}  // namespace holdfast::postgres
