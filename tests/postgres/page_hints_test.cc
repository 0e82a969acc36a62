#include "postgres/page_hints.h"

#include <gtest/gtest.h>

#include <cstring>

namespace holdfast::postgres {
namespace {

constexpr std::size_t kPage = 8192;
constexpr std::size_t kTuple = 8000;

void put16(base::Bytes& page, std::size_t at, std::uint16_t value) {
  std::memcpy(&page[at], &value, sizeof value);
}

// A heap page with one tuple of 100 bytes at 8000.
base::Bytes heap_page() {
  base::Bytes page(kPage);
  page[4] = 9;  // some LSN
  put16(page, 12, 28);
  put16(page, 14, kTuple);
  put16(page, 16, kPage);
  const std::uint32_t pointer = kTuple | 1U << 15 | 100U << 17;
  std::memcpy(&page[24], &pointer, sizeof pointer);
  for (std::size_t i = 0; i < 100; ++i) page[kTuple + i] = static_cast<std::uint8_t>(i);
  return page;
}

TEST(PageHints, HintBitsOfTuplesAndPagesAreHints) {
  const base::Bytes before = heap_page();
  base::Bytes now = before;
  now[kTuple + 21] |= 0x0F;  // HEAP_XMIN_COMMITTED and its like
  now[8] = 77;               // checksum
  now[10] |= 1;              // PD_HAS_FREE_LINES
  now[20] = 5;               // pd_prune_xid
  EXPECT_TRUE(differ_by_hints_alone(before, now));
}

TEST(PageHints, AChangedByteOfATupleIsNone) {
  const base::Bytes before = heap_page();
  for (const std::size_t at : {kTuple, kTuple + 20, kTuple + 50, kTuple + 99}) {
    base::Bytes now = before;
    now[at] ^= 1;
    EXPECT_FALSE(differ_by_hints_alone(before, now)) << at;
  }
  base::Bytes now = before;
  now[4] = 10;  // the LSN
  EXPECT_FALSE(differ_by_hints_alone(before, now));
}

TEST(PageHints, PagesThatAreLaidOutWronglyAreComparedWhole) {
  base::Bytes before(kPage, 0xAB);
  base::Bytes now = before;
  EXPECT_TRUE(differ_by_hints_alone(before, now));
  now[8] ^= 1;
  EXPECT_FALSE(differ_by_hints_alone(before, now));
}

TEST(PageHints, LinePointersBeyondThePageAreSafe) {
  base::Bytes page = heap_page();
  const std::uint32_t pointer = 0x7FFFU | 1U << 15 | 0x7FFFU << 17;
  std::memcpy(&page[24], &pointer, sizeof pointer);
  EXPECT_TRUE(differ_by_hints_alone(page, page));
}

}  // namespace
}  // namespace holdfast::postgres
