#include "postgres/page.h"

#include <array>
#include <bit>
#include <cstring>

#include "postgres/little_endian.h"

namespace holdfast::postgres {
namespace {

// Offsets in PageHeaderData.
constexpr std::size_t kChecksumOffset = 8;
constexpr std::size_t kUpperOffset = 14;

// The checksum is 32 FNV-1a hashes side by side, each over every 32nd word of the page, which are
// then folded into one. Side by side, so that a processor can do 4, 8 or 16 of them at a time.
constexpr std::size_t kLanes = 32;
constexpr std::size_t kRowSize = kLanes * sizeof(std::uint32_t);
constexpr std::uint32_t kPrime = 16777619;
alignas(64) constexpr std::array<std::uint32_t, kLanes> kBase = {
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756};

// Works on single lanes and on vectors of them.
#define HOLDFAST_MIX(sum, word)               \
  do {                                        \
    const auto mixed = (sum) ^ (word);        \
    (sum) = (mixed * kPrime) ^ (mixed >> 17); \
  } while (false)

// All lanes hash the page's rows, then two rows of zeros; the result is their exclusive or.
// `first_row` stands for the page's first row: the same without the checksum.
std::uint32_t hash_rows_portable(const std::uint8_t* first_row, const std::uint8_t* page,
                                 std::size_t page_size) {
  std::array<std::uint32_t, kLanes> sums = kBase;
  static constexpr std::array<std::uint8_t, kRowSize> kZeros{};
  const auto mix_row = [&sums](const std::uint8_t* row) {
    std::array<std::uint32_t, kLanes> words;
    std::memcpy(words.data(), row, kRowSize);
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      HOLDFAST_MIX(sums[lane], words[lane]);
    }
  };
  mix_row(first_row);
  for (std::size_t at = kRowSize; at < page_size; at += kRowSize) {
    mix_row(page + at);
  }
  mix_row(kZeros.data());
  mix_row(kZeros.data());
  std::uint32_t result = 0;
  for (const std::uint32_t sum : sums) {
    result ^= sum;
  }
  return result;
}

#if defined(__x86_64__)

// The same with the lanes in four registers, whatever the optimiser thinks of loops.
__attribute__((target("avx2"))) std::uint32_t hash_rows_avx2(const std::uint8_t* first_row,
                                                             const std::uint8_t* page,
                                                             std::size_t page_size) {
  using Lanes = std::uint32_t __attribute__((vector_size(32)));
  using LanesInMemory = std::uint32_t __attribute__((vector_size(32), aligned(1), may_alias));
  auto [a, b, c, d] = std::bit_cast<std::array<Lanes, 4>>(kBase);
  const std::uint8_t* at = first_row;
  for (std::size_t done = 0; done < page_size;) {
    const auto* row = reinterpret_cast<const LanesInMemory*>(at);
    HOLDFAST_MIX(a, row[0]);
    HOLDFAST_MIX(b, row[1]);
    HOLDFAST_MIX(c, row[2]);
    HOLDFAST_MIX(d, row[3]);
    done += kRowSize;
    at = page + done;
  }
  for (int round = 0; round < 2; ++round) {
    HOLDFAST_MIX(a, 0);
    HOLDFAST_MIX(b, 0);
    HOLDFAST_MIX(c, 0);
    HOLDFAST_MIX(d, 0);
  }
  const Lanes folded = a ^ b ^ c ^ d;
  std::uint32_t result = 0;
  for (std::size_t lane = 0; lane < 8; ++lane) {
    result ^= folded[lane];
  }
  return result;
}

#endif
#undef HOLDFAST_MIX

using HashRows = std::uint32_t (*)(const std::uint8_t*, const std::uint8_t*, std::size_t);

HashRows best_hash_rows() {
#if defined(__x86_64__)
  static const bool has_avx2 = __builtin_cpu_supports("avx2");
  return has_avx2 ? hash_rows_avx2 : hash_rows_portable;
#else
  return hash_rows_portable;
#endif
}

std::uint16_t checksum_by(HashRows hash_rows, const std::uint8_t* page, std::size_t page_size,
                          std::uint32_t block_number) {
  // The page as it was when the server summed it: with 0 where the checksum goes.
  alignas(32) std::array<std::uint8_t, kRowSize> first_row;
  std::memcpy(first_row.data(), page, kRowSize);
  std::memset(first_row.data() + kChecksumOffset, 0, sizeof(std::uint16_t));
  const std::uint32_t hash = hash_rows(first_row.data(), page, page_size) ^ block_number;
  return static_cast<std::uint16_t>(hash % 65535 + 1);  // never 0
}

bool is_all_zeros(const std::uint8_t* page, std::size_t page_size) {
  return load<std::uint64_t>(page) == 0 && std::memcmp(page, page + 8, page_size - 8) == 0;
}

// As the server judges (PageIsVerified): pd_upper is 0 in a page that nobody initialised, and such
// a page is fine only if there is nothing else in it either.
PageState check_by(HashRows hash_rows, const std::uint8_t* page, std::size_t page_size,
                   std::uint32_t block_number) {
  if (load<std::uint16_t>(page + kUpperOffset) == 0) {
    return is_all_zeros(page, page_size) ? PageState::kNew : PageState::kBad;
  }
  const std::uint16_t stored = load<std::uint16_t>(page + kChecksumOffset);
  return checksum_by(hash_rows, page, page_size, block_number) == stored ? PageState::kGood
                                                                         : PageState::kBad;
}

}  // namespace

bool is_page_size(std::uint64_t size_bytes) {
  return std::has_single_bit(size_bytes) && size_bytes >= 1024 && size_bytes <= 32768;
}

std::uint16_t page_checksum(base::ByteView page, std::uint32_t block_number) {
  return checksum_by(best_hash_rows(), page.data(), page.size(), block_number);
}

std::uint16_t page_checksum_portable(base::ByteView page, std::uint32_t block_number) {
  return checksum_by(hash_rows_portable, page.data(), page.size(), block_number);
}

PageState check_page(base::ByteView page, std::uint32_t block_number) {
  return check_by(best_hash_rows(), page.data(), page.size(), block_number);
}

void find_bad_pages(base::ByteView pages, std::size_t page_size, std::uint32_t first_block,
                    std::vector<std::uint32_t>& bad) {
  const HashRows hash_rows = best_hash_rows();
  const std::size_t count = pages.size() / page_size;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t block = first_block + static_cast<std::uint32_t>(i);
    if (check_by(hash_rows, pages.data() + i * page_size, page_size, block) == PageState::kBad) {
      bad.push_back(block);
    }
  }
}

Lsn page_lsn(base::ByteView page) {
  return Lsn{load<std::uint32_t>(page.data())} << 32 | load<std::uint32_t>(page.data() + 4);
}

}  // namespace holdfast::postgres
