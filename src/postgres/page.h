// Pages of relation files: their checksum, and what can be said of a page by looking at it.
// Facts: PostgreSQL's storage/bufpage.h, checksum_impl.h and page/README.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "postgres/wal_name.h"

namespace holdfast::postgres {

inline constexpr std::size_t kDefaultPageSize = 8192;
// A power of two from 1 to 32 KiB, as PostgreSQL can be built with. The functions below need one.
bool is_page_size(std::uint64_t size_bytes);

enum class PageState {
  kGood,  // the checksum fits
  kNew,   // nothing but zeros: allocated and never written
  kBad,
};

// The checksum that belongs on the page. `block_number` counts from the start of the relation fork,
// not of the file: segment × blocks per segment (131072 of 8 KiB) + block in the segment.
std::uint16_t page_checksum(base::ByteView page, std::uint32_t block_number);

// The same without vector instructions: what it falls back to, named for its test.
std::uint16_t page_checksum_portable(base::ByteView page, std::uint32_t block_number);

// In a cluster with data checksums.
PageState check_page(base::ByteView page, std::uint32_t block_number);

// Appends to `bad` the block numbers of the pages that are kBad. `pages` is whole pages, of which
// the first is `first_block`.
void find_bad_pages(base::ByteView pages, std::size_t page_size, std::uint32_t first_block,
                    std::vector<std::uint32_t>& bad);

// The end of the last WAL record that changed the page; 0 where none did.
Lsn page_lsn(base::ByteView page);

}  // namespace holdfast::postgres
