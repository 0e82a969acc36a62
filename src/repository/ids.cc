#include "repository/ids.h"

#include <fmt/format.h>

namespace holdfast::repository {

std::string pack_name(const PackId& id) {
  const std::string hex = id.hex();
  return fmt::format("packs/{}/{}", std::string_view(hex).substr(0, 2), hex);
}

std::string index_name(const IndexId& id) { return "index/" + id.hex(); }

std::string tombstone_name(const TombstoneId& id) { return "tombstones/" + id.hex(); }

}  // namespace holdfast::repository
