#include "repository/page_layout.h"

#include <array>
#include <bit>
#include <cstring>
#include <optional>

namespace holdfast::repository {
namespace {

// PostgreSQL's src/include/storage/bufpage.h and itemid.h: the page's header, then line pointers up
// to pd_lower; tuples from pd_upper on, each at a multiple of 8 (MAXALIGN); from pd_special to the
// end what an index keeps about the page.
constexpr std::size_t kHeaderSize = 24;
constexpr std::size_t kLowerAt = 12;
constexpr std::size_t kUpperAt = 14;
constexpr std::size_t kSpecialAt = 16;
constexpr std::size_t kLinePointerSize = 4;
constexpr std::size_t kAlignment = 8;
constexpr std::size_t kMaxTupleSize = 64;

constexpr std::size_t kTile = 8;
static_assert(std::endian::native == std::endian::little, "a row of a tile is a word");

using Tile = std::array<std::uint64_t, kTile>;

// Swaps bits of `high` with those of `low` that stand `shift` lower.
inline void swap_bits(std::uint64_t& high, std::uint64_t& low, int shift, std::uint64_t mask) {
  const std::uint64_t changed = ((high >> shift) ^ low) & mask;
  low ^= changed;
  high ^= changed << shift;
}

// 8 rows of 8 bytes: first the quarters trade places, then the quarters of each, then the bytes.
inline void transpose(Tile& tile) {
  for (const std::size_t i : {0, 1, 2, 3}) swap_bits(tile[i], tile[i + 4], 32, 0x00000000FFFFFFFF);
  for (const std::size_t i : {0, 1, 4, 5}) swap_bits(tile[i], tile[i + 2], 16, 0x0000FFFF0000FFFF);
  for (const std::size_t i : {0, 2, 4, 6}) swap_bits(tile[i], tile[i + 1], 8, 0x00FF00FF00FF00FF);
}

// A matrix of bytes whose rows begin `stride` apart.
struct Source {
  const std::uint8_t* data;
  std::size_t stride;
};
struct Target {
  std::uint8_t* data;
  std::size_t stride;
};

// Makes columns of the source rows of the target.
void transpose(const Source& from, std::size_t rows, std::size_t columns, const Target& to) {
  const std::size_t tiled_rows = rows - rows % kTile;
  const std::size_t tiled_columns = columns - columns % kTile;
  for (std::size_t row = 0; row < tiled_rows; row += kTile) {
    for (std::size_t column = 0; column < tiled_columns; column += kTile) {
      Tile tile;
      for (std::size_t i = 0; i < kTile; ++i) {
        std::memcpy(&tile[i], from.data + (row + i) * from.stride + column, kTile);
      }
      transpose(tile);
      for (std::size_t i = 0; i < kTile; ++i) {
        std::memcpy(to.data + (column + i) * to.stride + row, &tile[i], kTile);
      }
    }
  }
  for (std::size_t column = 0; column < columns; ++column) {
    for (std::size_t row = column < tiled_columns ? tiled_rows : 0; row < rows; ++row) {
      to.data[column * to.stride + row] = from.data[row * from.stride + column];
    }
  }
}

struct Tuples {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::size_t size = 0;  // of each

  std::size_t count() const { return (end - begin) / size; }
};

std::size_t u16_at(const std::uint8_t* bytes) { return bytes[0] | std::size_t{bytes[1]} << 8; }

// Where tuples stand that are worth being transposed. Looks at nothing but the header and the first
// line pointer, which stand before any tuples that it finds.
std::optional<Tuples> find_tuples(const std::uint8_t* page, std::size_t page_size) {
  const std::size_t lower = u16_at(page + kLowerAt);
  const std::size_t upper = u16_at(page + kUpperAt);
  const std::size_t special = u16_at(page + kSpecialAt);
  if (lower < kHeaderSize + kLinePointerSize || lower > upper || upper >= special ||
      special >= page_size) {
    return std::nullopt;
  }
  // 15 bits of offset, 2 of flags, 15 of length
  const std::size_t length = u16_at(page + kHeaderSize + 2) >> 1;
  const std::size_t size = (length + kAlignment - 1) / kAlignment * kAlignment;
  if (size == 0 || size > kMaxTupleSize || (special - upper) % size != 0) return std::nullopt;
  return Tuples{upper, special, size};
}

}  // namespace

void rearrange_pages(base::ByteView pages, std::size_t page_size, base::MutableByteView out) {
  const std::size_t count = pages.size() / page_size;
  transpose(Source{pages.data(), page_size}, count, kHeaderSize, Target{out.data(), count});
  std::uint8_t* body = out.data() + count * kHeaderSize;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint8_t* page = pages.data() + i * page_size;
    const auto copy = [&](std::size_t from, std::size_t to) {
      std::memcpy(body + from - kHeaderSize, page + from, to - from);
    };
    if (const std::optional<Tuples> tuples = find_tuples(page, page_size)) {
      copy(kHeaderSize, tuples->begin);
      transpose(Source{page + tuples->begin, tuples->size}, tuples->count(), tuples->size,
                Target{body + tuples->begin - kHeaderSize, tuples->count()});
      copy(tuples->end, page_size);
    } else {
      copy(kHeaderSize, page_size);
    }
    body += page_size - kHeaderSize;
  }
}

void restore_pages(base::ByteView rearranged, std::size_t page_size, base::MutableByteView pages) {
  const std::size_t count = pages.size() / page_size;
  transpose(Source{rearranged.data(), count}, kHeaderSize, count, Target{pages.data(), page_size});
  const std::uint8_t* body = rearranged.data() + count * kHeaderSize;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint8_t* page = pages.data() + i * page_size;
    const auto copy = [&](std::size_t from, std::size_t to) {
      std::memcpy(page + from, body + from - kHeaderSize, to - from);
    };
    copy(kHeaderSize, kHeaderSize + kLinePointerSize);
    if (const std::optional<Tuples> tuples = find_tuples(page, page_size)) {
      copy(kHeaderSize, tuples->begin);
      transpose(Source{body + tuples->begin - kHeaderSize, tuples->count()}, tuples->size,
                tuples->count(), Target{page + tuples->begin, tuples->size});
      copy(tuples->end, page_size);
    } else {
      copy(kHeaderSize, page_size);
    }
    body += page_size - kHeaderSize;
  }
}

}  // namespace holdfast::repository
