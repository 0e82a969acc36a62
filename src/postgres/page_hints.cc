#include "postgres/page_hints.h"

#include <algorithm>
#include <cstring>

#include "postgres/little_endian.h"
#include "postgres/page.h"

namespace holdfast::postgres {
namespace {

// PageHeaderData, ItemIdData, HeapTupleHeaderData.
constexpr std::size_t kChecksumOffset = 8;
constexpr std::size_t kFlagsOffset = 10;
constexpr std::size_t kLowerOffset = 12;
constexpr std::size_t kUpperOffset = 14;
constexpr std::size_t kSpecialOffset = 16;
constexpr std::size_t kPruneXidOffset = 20;
constexpr std::size_t kHeaderSize = 24;
constexpr std::size_t kLinePointerSize = 4;
constexpr std::uint32_t kLinePointerFlags = 3U << 15;
constexpr std::uint32_t kOffsetMask = 0x7FFF;
constexpr std::size_t kInfomaskOffset = 20;
constexpr std::size_t kTupleHeaderSize = 23;
constexpr std::uint16_t kTupleHints = 0x0F00;  // HEAP_XMIN_…, HEAP_XMAX_COMMITTED and _INVALID
// SpGistPageOpaqueData ends a page: its flags are the first of 8 bytes, its id the last two.
constexpr std::size_t kSpgistOpaqueSize = 8;
constexpr std::uint16_t kSpgistMeta = 1;
constexpr std::uint16_t kSpgistPageId = 0xFF82;

template <typename Integer>
void store(std::uint8_t* place, Integer value) {
  for (std::size_t i = 0; i < sizeof value; ++i) {
    place[i] = static_cast<std::uint8_t>(value >> (8 * i));
  }
}

// The page without its hints; as it is where it is not laid out as a page.
base::Bytes without_hints(base::ByteView page) {
  base::Bytes masked(page.begin(), page.end());
  const std::size_t lower = load<std::uint16_t>(&page[kLowerOffset]);
  const std::size_t special = load<std::uint16_t>(&page[kSpecialOffset]);
  if (lower < kHeaderSize || lower > special || special > page.size()) return masked;
  std::fill_n(&masked[kChecksumOffset], kLowerOffset - kChecksumOffset, std::uint8_t{0});
  static_assert(kFlagsOffset + 2 == kLowerOffset);
  std::fill_n(&masked[kPruneXidOffset], 4, std::uint8_t{0});
  const bool is_heap = special == page.size();
  for (std::size_t at = kHeaderSize; at + kLinePointerSize <= lower; at += kLinePointerSize) {
    const auto pointer = load<std::uint32_t>(&page[at]);
    store(&masked[at], pointer & ~kLinePointerFlags);
    const std::size_t tuple = pointer & kOffsetMask;
    if (!is_heap || tuple < lower || tuple + kTupleHeaderSize > page.size()) continue;
    const auto info = load<std::uint16_t>(&page[tuple + kInfomaskOffset]);
    store(&masked[tuple + kInfomaskOffset], static_cast<std::uint16_t>(info & ~kTupleHints));
  }
  std::fill(masked.begin() + static_cast<std::ptrdiff_t>(special), masked.end(), std::uint8_t{0});
  return masked;
}

}  // namespace

bool differ_by_hints_alone(base::ByteView before, base::ByteView now) {
  return before.size() == now.size() && before.size() >= kHeaderSize &&
         without_hints(before) == without_hints(now);
}

bool is_written_without_wal(base::ByteView page) {
  const bool is_spgist_metapage =
      load<std::uint16_t>(&page[page.size() - 2]) == kSpgistPageId &&
      (load<std::uint16_t>(&page[page.size() - kSpgistOpaqueSize]) & kSpgistMeta) != 0;
  const bool is_empty =
      page_lsn(page) == 0 && load<std::uint16_t>(&page[kLowerOffset]) == kHeaderSize &&
      load<std::uint16_t>(&page[kUpperOffset]) == load<std::uint16_t>(&page[kSpecialOffset]);
  return is_spgist_metapage || is_empty;
}

}  // namespace holdfast::postgres
