// Contents for tests: different at every place and for every seed, so that a piece that is lost,
// doubled or swapped shows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"

namespace holdfast::storage {

inline void fill_content(base::MutableByteView content, std::uint64_t seed) {
  std::uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
  for (std::size_t at = 0; at < content.size(); at += sizeof state) {
    state ^= state << 13;  // xorshift64
    state ^= state >> 7;
    state ^= state << 17;
    std::memcpy(content.data() + at, &state, std::min(sizeof state, content.size() - at));
  }
}

inline base::Bytes make_content(std::size_t size_bytes, std::uint64_t seed) {
  base::Bytes content(size_bytes);
  fill_content(content, seed);
  return content;
}

}  // namespace holdfast::storage
