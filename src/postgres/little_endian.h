// Integers in PostgreSQL's own files, which are in the byte order of the machine; Holdfast backs up
// little-endian ones. For hot paths: the caller has checked the bounds (elsewhere:
// base::ByteReader).
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>

namespace holdfast::postgres {

static_assert(std::endian::native == std::endian::little);

template <std::unsigned_integral Integer>
Integer load(const std::uint8_t* at) {
  Integer value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

}  // namespace holdfast::postgres
