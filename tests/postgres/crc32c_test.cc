#include "postgres/crc32c.h"

#include <gtest/gtest.h>

#include <random>

namespace holdfast::postgres {
namespace {

using base::as_bytes;
using base::Bytes;
using base::ByteView;

Bytes random_bytes(std::size_t size) {
  std::mt19937 random(1);
  Bytes bytes(size);
  for (auto& byte : bytes) {
    byte = static_cast<std::uint8_t>(random());
  }
  return bytes;
}

// Bit by bit, as RFC 3720 defines it.
std::uint32_t by_definition(ByteView bytes) {
  std::uint32_t crc = ~0U;
  for (const std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82F63B78U : 0U);
    }
  }
  return ~crc;
}

// RFC 3720, appendix B.4.
TEST(Crc32c, GivesThePublishedValues) {
  Bytes ascending(32);
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    ascending[i] = static_cast<std::uint8_t>(i);
  }
  for (const auto& sum : {crc32c, crc32c_portable}) {
    EXPECT_EQ(sum(0, {}), 0U);
    EXPECT_EQ(sum(0, as_bytes("123456789")), 0xE3069283U);
    EXPECT_EQ(sum(0, Bytes(32, 0x00)), 0x8A9136AAU);
    EXPECT_EQ(sum(0, Bytes(32, 0xFF)), 0x62A8AB43U);
    EXPECT_EQ(sum(0, ascending), 0x46DD794EU);
  }
}

TEST(Crc32c, GivesTheSameForEverySizeAndAlignment) {
  const Bytes bytes = random_bytes(20'000);
  for (const std::size_t start : {0U, 1U, 7U}) {
    for (const std::size_t size :
         {1U, 7U, 8U, 9U, 1023U, 3071U, 3072U, 3073U, 6144U, 8192U, 19'000U}) {
      const ByteView piece = ByteView{bytes}.subspan(start, size);
      const std::uint32_t expected = by_definition(piece);
      EXPECT_EQ(crc32c(0, piece), expected) << start << ", " << size;
      EXPECT_EQ(crc32c_portable(0, piece), expected) << start << ", " << size;
    }
  }
}

TEST(Crc32c, GoesOnFromAnEarlierPiece) {
  const Bytes bytes = random_bytes(10'000);
  const ByteView all = bytes;
  for (const std::size_t cut : {0U, 1U, 3333U, 9999U, 10'000U}) {
    const std::uint32_t first = crc32c(0, all.first(cut));
    EXPECT_EQ(crc32c(first, all.subspan(cut)), crc32c(0, all)) << cut;
    EXPECT_EQ(crc32c_portable(first, all.subspan(cut)), crc32c(0, all)) << cut;
    EXPECT_EQ(crc32c_combine(first, crc32c(0, all.subspan(cut)), all.size() - cut), crc32c(0, all))
        << cut;
  }
}

TEST(Crc32c, OfZerosNeedsNoZeros) {
  for (const std::size_t size : {0U, 1U, 31U, 8192U, 100'000U}) {
    EXPECT_EQ(crc32c_of_zeros(size), crc32c(0, Bytes(size))) << size;
  }
}

TEST(Crc32c, CombinesAcrossHugeLengths) {
  // Zeros joined to zeros are zeros: a length beyond what could be summed here.
  const std::uint64_t huge = std::uint64_t{1} << 60;
  EXPECT_EQ(crc32c_combine(crc32c_of_zeros(huge), crc32c_of_zeros(huge + 5), huge + 5),
            crc32c_of_zeros(2 * huge + 5));
  EXPECT_NE(crc32c_of_zeros(huge), crc32c_of_zeros(huge + 1));
}

}  // namespace
}  // namespace holdfast::postgres
