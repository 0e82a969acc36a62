// So many packs, and how large they are.
#pragma once

#include <cstdint>

namespace holdfast::repository {

struct PackTotals {
  std::uint64_t packs = 0;
  std::uint64_t bytes = 0;

  void add(std::uint64_t size_bytes) {
    ++packs;
    bytes += size_bytes;
  }
};

}  // namespace holdfast::repository
