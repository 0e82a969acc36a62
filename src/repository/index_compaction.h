// Fewer index objects in place of many, and none that names a pack which is gone. Internal to this
// folder.
#pragma once

#include <functional>
#include <set>
#include <stop_token>

#include "repository/index.h"

namespace holdfast::repository {

struct IndexCompaction {
  // Packs that need not be named any more: removed, and needed by nothing.
  std::function<bool(const PackId&)> is_gone;
  // Index objects whose names must stay known as replaced: records name them.
  std::function<bool(const IndexId&)> is_named;
  std::vector<Index::PackContents> unnamed{};  // packs that none names and that are needed
};

// Puts the new objects before it removes the old ones; what an object names as replaced, it holds
// whole. Gives how many objects were removed.
std::uint64_t compact_index(const Context& context, const Index& index, const IndexCompaction& what,
                            const std::stop_token& stop);

}  // namespace holdfast::repository
