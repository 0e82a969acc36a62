#include "postgres/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "base/file.h"
#include "postgres/temporary_server.h"

namespace holdfast::postgres {
namespace {

using base::Bytes;
using base::ByteView;
using testing::ElementsAre;
using testing::IsEmpty;

void store(Bytes& bytes, std::size_t at, std::uint16_t value) {
  bytes[at] = static_cast<std::uint8_t>(value);
  bytes[at + 1] = static_cast<std::uint8_t>(value >> 8);
}

// An initialised page with a content that depends on `seed` alone, and no checksum yet.
Bytes make_page(std::size_t size, std::uint32_t seed) {
  Bytes page(size);
  for (auto& byte : page) {
    seed = seed * 1664525 + 1013904223;
    byte = static_cast<std::uint8_t>(seed >> 24);
  }
  store(page, 8, 0);
  store(page, 14, static_cast<std::uint16_t>(size / 2));  // pd_upper
  return page;
}

Bytes make_pages(std::size_t count, std::uint32_t first_block) {
  Bytes pages;
  for (std::uint32_t i = 0; i < count; ++i) {
    Bytes page = make_page(kDefaultPageSize, i);
    store(page, 8, page_checksum(page, first_block + i));
    pages.insert(pages.end(), page.begin(), page.end());
  }
  return pages;
}

TEST(PageChecksum, IsTheSameWithAndWithoutVectors) {
  for (const std::size_t size : {1024U, 2048U, 4096U, 8192U, 16384U, 32768U}) {
    for (std::uint32_t seed = 0; seed < 20; ++seed) {
      const Bytes page = make_page(size, seed);
      EXPECT_EQ(page_checksum(page, seed), page_checksum_portable(page, seed)) << size;
    }
  }
}

// Values that pg_checksums agreed with, so that a mistake is found where there is no server.
TEST(PageChecksum, GivesTheServersValues) {
  EXPECT_EQ(page_checksum(make_page(8192, 1), 0), 28152);
  EXPECT_EQ(page_checksum(make_page(8192, 1), 131'072), 28154);
  EXPECT_EQ(page_checksum(make_page(32768, 2), 7), 29112);
}

TEST(PageChecksum, DoesNotDependOnTheStoredOne) {
  Bytes page = make_page(kDefaultPageSize, 1);
  const std::uint16_t checksum = page_checksum(page, 5);
  store(page, 8, 0xFFFF);
  EXPECT_EQ(page_checksum(page, 5), checksum);
}

TEST(CheckPage, FindsEveryFlippedBitAndAWrongPlace) {
  Bytes page = make_page(kDefaultPageSize, 2);
  store(page, 8, page_checksum(page, 77));
  EXPECT_EQ(check_page(page, 77), PageState::kGood);
  EXPECT_EQ(check_page(page, 78), PageState::kBad);
  for (std::size_t at = 0; at < page.size(); at += 61) {
    page[at] ^= 0x10;
    EXPECT_EQ(check_page(page, 77), PageState::kBad) << at;
    page[at] ^= 0x10;
  }
}

TEST(CheckPage, TakesAPageOfZerosForNewAndNothingElse) {
  Bytes page(kDefaultPageSize);
  EXPECT_EQ(check_page(page, 9), PageState::kNew);
  for (const std::size_t at : {0U, 7U, 8U, 100U, 8191U}) {
    page[at] = 1;
    EXPECT_EQ(check_page(page, 9), PageState::kBad) << at;
    page[at] = 0;
  }
  // The server refuses it with a fitting checksum too: nobody initialised it.
  page[100] = 1;
  store(page, 8, page_checksum(page, 9));
  EXPECT_EQ(check_page(page, 9), PageState::kBad);
}

TEST(FindBadPages, NamesThemByTheirBlocks) {
  constexpr std::uint32_t kFirst = 131'070;  // so that the numbers go on into the next segment
  Bytes pages = make_pages(6, kFirst);
  std::vector<std::uint32_t> bad;
  find_bad_pages(pages, kDefaultPageSize, kFirst, bad);
  EXPECT_THAT(bad, IsEmpty());

  std::fill_n(pages.begin(), kDefaultPageSize, std::uint8_t{0});  // new: fine
  pages[2 * kDefaultPageSize + 4000] ^= 1;
  pages[5 * kDefaultPageSize + 9] ^= 1;
  bad = {7};
  find_bad_pages(pages, kDefaultPageSize, kFirst, bad);
  EXPECT_THAT(bad, ElementsAre(7, kFirst + 2, kFirst + 5));
}

TEST(PageLsn, HasItsUpperHalfFirst) {
  Bytes page(kDefaultPageSize);
  page[0] = 0x16;
  page[4] = 0x48;
  page[7] = 0xB3;
  EXPECT_EQ(page_lsn(page), 0x16'B3000048U);
}

TEST(PageSize, IsAPowerOfTwoFrom1To32KiB) {
  EXPECT_TRUE(is_page_size(1024));
  EXPECT_TRUE(is_page_size(32768));
  EXPECT_FALSE(is_page_size(512));
  EXPECT_FALSE(is_page_size(65536));
  EXPECT_FALSE(is_page_size(8191));
}

// The server's own pages are all good, and so says pg_checksums; a flipped bit is found by both.
TEST(PagesOfAServer, AreJudgedAsPgChecksumsDoes) {
  HOLDFAST_NEED_SERVER();
  TemporaryServer server({"--data-checksums"});
  std::size_t pages = 0;
  std::filesystem::path largest;
  for (const auto& entry : std::filesystem::directory_iterator(server.data() / "base" / "1")) {
    const std::string name = entry.path().filename();
    if (name.starts_with("pg_") || name == "PG_VERSION") {
      continue;
    }
    const Bytes content = base::read_file(entry.path(), 64 << 20);
    std::vector<std::uint32_t> bad;
    find_bad_pages(content, kDefaultPageSize, 0, bad);
    EXPECT_THAT(bad, IsEmpty()) << name;
    pages += content.size() / kDefaultPageSize;
    if (largest.empty() || content.size() > std::filesystem::file_size(largest)) {
      largest = entry.path();
    }
  }
  EXPECT_GT(pages, 500U);
  EXPECT_EQ(server.try_run("pg_checksums", {"--check", "-D", server.data()}).exit_status, 0);

  const base::UniqueFd fd = base::open_file(largest, O_RDWR);
  Bytes page(kDefaultPageSize);
  base::read_at(fd.get(), 3 * kDefaultPageSize, page, largest);
  page[5000] ^= 0x40;
  base::write_at(fd.get(), 3 * kDefaultPageSize, page, largest);
  std::vector<std::uint32_t> bad;
  find_bad_pages(base::read_file(largest, 64 << 20), kDefaultPageSize, 0, bad);
  EXPECT_THAT(bad, ElementsAre(3));
  EXPECT_NE(server.try_run("pg_checksums", {"--check", "-D", server.data()}).exit_status, 0);
}

}  // namespace
}  // namespace holdfast::postgres
