// CRC-32C (Castagnoli), as pg_control, WAL records and backup manifests carry it.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace holdfast::postgres {

// Finalised values in and out: crc32c(0, ab) == crc32c(crc32c(0, a), b). By the processor's own
// instruction where it has one.
std::uint32_t crc32c(std::uint32_t crc_so_far, base::ByteView bytes);

// The same without that instruction: what crc32c() falls back to, named for its test.
std::uint32_t crc32c_portable(std::uint32_t crc_so_far, base::ByteView bytes);

// The CRC of two pieces joined, from the CRC of each: so pieces may be summed in any order and in
// parallel. Costs a few hundred nanoseconds, whatever the length.
std::uint32_t crc32c_combine(std::uint32_t first, std::uint32_t second,
                             std::uint64_t second_length);

// Of that many zero bytes, without touching any: for holes and empty pages.
std::uint32_t crc32c_of_zeros(std::uint64_t length);

}  // namespace holdfast::postgres
