// Pages as PostgreSQL's B-tree and heap have them, without what this layer does not look at.
#pragma once

#include <random>

#include "base/bytes.h"

namespace holdfast::repository {

inline void put_u16(base::MutableByteView page, std::size_t at, std::size_t value) {
  page[at] = static_cast<std::uint8_t>(value);
  page[at + 1] = static_cast<std::uint8_t>(value >> 8);
}

// A header and the line pointers of `count` tuples of `length` bytes, which end at `special`.
inline void put_page_frame(base::MutableByteView page, std::size_t count, std::size_t length,
                           std::size_t special) {
  const std::size_t stride = (length + 7) / 8 * 8;
  const std::size_t upper = special - count * stride;
  put_u16(page, 12, 24 + 4 * count);
  put_u16(page, 14, upper);
  put_u16(page, 16, special);
  put_u16(page, 18, page.size() | 4);
  for (std::size_t i = 0; i < count; ++i) {
    put_u16(page, 24 + 4 * i, (special - (i + 1) * stride) | 0x8000);
    put_u16(page, 26 + 4 * i, length << 1);
  }
}

// A leaf of an index of integers: as many tuples of `length` bytes as fit, with rising keys.
inline base::Bytes index_page(std::size_t size, std::size_t length, std::uint32_t seed) {
  base::Bytes page(size);
  const std::size_t special = size - 16;
  const std::size_t stride = (length + 7) / 8 * 8;
  const std::size_t count = (special - 24) / (stride + 4);
  put_page_frame(page, count, length, special);
  std::mt19937 generator(seed);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t tuple = special - (i + 1) * stride;
    for (std::size_t k = 0; k < length; ++k) page[tuple + k] = static_cast<std::uint8_t>(k);
    put_u16(page, tuple + 4, generator() % 61);
    put_u16(page, tuple + length - 2, seed * count + i);
  }
  return page;
}

// Rows of `length` bytes up to the page's end: no special area.
inline base::Bytes heap_page(std::size_t size, std::size_t length, std::uint32_t seed) {
  base::Bytes page(size);
  const std::size_t count = (size - 24) / ((length + 7) / 8 * 8 + 4);
  put_page_frame(page, count, length, size);
  std::mt19937 generator(seed);
  for (std::size_t at = size - 1; at > size / 2; at -= 7) {
    page[at] = static_cast<std::uint8_t>(generator());
  }
  return page;
}

}  // namespace holdfast::repository
