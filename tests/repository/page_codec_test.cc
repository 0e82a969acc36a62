// Codec 2: whatever the pages hold comes back as it was, and pages of indexes become small.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "repository/compression.h"
#include "repository/page_layout.h"
#include "sample_backup.h"
#include "sample_pages.h"

namespace holdfast::repository {
namespace {

constexpr std::size_t kPage = 8192;

base::Bytes rearranged(base::ByteView pages, std::size_t page_size) {
  base::Bytes out(pages.size());
  rearrange_pages(pages, page_size, out);
  return out;
}

// Compared with bytes on both sides of the result, which stay as they were.
void expect_round_trip(base::ByteView pages, std::size_t page_size) {
  const base::Bytes between = rearranged(pages, page_size);
  base::Bytes restored(pages.size() + 2, 0xA5);
  restore_pages(between, page_size, base::MutableByteView(restored).subspan(1, pages.size()));
  ASSERT_TRUE(std::equal(pages.begin(), pages.end(), restored.begin() + 1)) << page_size;
  ASSERT_EQ(restored.front(), 0xA5);
  ASSERT_EQ(restored.back(), 0xA5);
}

void append(base::Bytes& pages, const base::Bytes& page) {
  pages.insert(pages.end(), page.begin(), page.end());
}

std::vector<std::size_t> page_sizes() {
  return {512, 1024, 2048, 4096, 8192, 16'384, 32'768, 65'536};
}

// As the format has it, a byte at a time. Only for pages that are all of one kind.
base::Bytes slowly_rearranged(base::ByteView pages, std::size_t page_size, std::size_t upper,
                              std::size_t special, std::size_t stride) {
  base::Bytes out;
  for (std::size_t k = 0; k < 24; ++k) {
    for (std::size_t at = 0; at < pages.size(); at += page_size) out.push_back(pages[at + k]);
  }
  for (std::size_t at = 0; at < pages.size(); at += page_size) {
    const base::ByteView page = pages.subspan(at, page_size);
    out.insert(out.end(), page.begin() + 24, page.begin() + static_cast<std::ptrdiff_t>(upper));
    for (std::size_t k = 0; k < stride; ++k) {
      for (std::size_t t = upper; t < special; t += stride) out.push_back(page[t + k]);
    }
    out.insert(out.end(), page.begin() + static_cast<std::ptrdiff_t>(special), page.end());
  }
  return out;
}

TEST(PageLayout, IsWhatTheFormatSays) {
  for (const std::size_t length : {3u, 8u, 16u, 20u, 24u, 40u, 57u, 64u}) {
    base::Bytes pages;
    for (std::uint32_t i = 0; i < 13; ++i) append(pages, index_page(kPage, length, i));
    const std::size_t stride = (length + 7) / 8 * 8;
    const std::size_t special = kPage - 16;
    const std::size_t upper = special - (special - 24) / (stride + 4) * stride;
    EXPECT_TRUE(rearranged(pages, kPage) == slowly_rearranged(pages, kPage, upper, special, stride))
        << length;
    expect_round_trip(pages, kPage);
  }
}

// No special area, or not of tuples of one size that is worth it: only the headers are moved.
TEST(PageLayout, LeavesOtherPagesAsTheyAre) {
  const auto expect_left = [](const base::Bytes& page) {
    EXPECT_TRUE(rearranged(page, kPage) == page);  // a single page's header stays in its place
  };
  expect_left(heap_page(kPage, 120, 1));
  expect_left(heap_page(kPage, 16, 1));
  expect_left(base::Bytes(kPage, 0));
  expect_left(index_page(kPage, 65, 1));
  const base::Bytes index = index_page(kPage, 16, 1);
  EXPECT_FALSE(rearranged(index, kPage) == index);
  const auto expect_left_with = [&](std::size_t at, std::size_t value) {
    base::Bytes changed = index;
    put_u16(changed, at, value);
    expect_left(changed);
  };
  expect_left_with(12, 27);                    // lower, within the first line pointer
  expect_left_with(12, kPage);                 // behind upper
  expect_left_with(14, kPage - 16);            // no tuples
  expect_left_with(14, kPage - 16 - 160 - 8);  // not of whole tuples
  expect_left_with(16, kPage);                 // special at the end
  expect_left_with(16, 65'535);
  expect_left_with(26, 0);  // tuples of no length
  expect_left_with(26, 65'535);
}

TEST(PageLayout, AnyBytesComeBack) {
  std::mt19937 generator(1);
  for (const std::size_t size : page_sizes()) {
    for (const std::size_t count : {1u, 2u, 7u, 8u, 9u, 24u, 31u}) {
      expect_round_trip(random_bytes(size * count, static_cast<std::uint32_t>(generator())), size);
    }
    base::Bytes mixed;
    for (std::uint32_t i = 0; i < 5; ++i) {
      append(mixed, index_page(size, 16, i));
      append(mixed, heap_page(size, 40, i));
      append(mixed, base::Bytes(size, 0));
    }
    expect_round_trip(mixed, size);
  }
}

// Headers with some fields at and around every limit, the others as an index has them, before
// random tuples.
TEST(PageLayout, HostileHeadersComeBack) {
  std::mt19937 generator(2);
  for (const std::size_t size : page_sizes()) {
    const std::size_t limits[] = {0,        24,        27,       28,       32,  64,
                                  size / 2, size - 64, size - 8, size - 1, size};
    const auto near_limit = [&] {
      const std::size_t limit = limits[generator() % std::size(limits)];
      return generator() % 4 == 0 ? limit + generator() % 65 - 32 : limit;
    };
    base::Bytes pages = random_bytes(4 * size, static_cast<std::uint32_t>(generator()));
    int moved = 0;
    for (int round = 0; round < 1000; ++round) {
      for (std::size_t at = 0; at < pages.size(); at += size) {
        const base::MutableByteView page = base::MutableByteView(pages).subspan(at, size);
        const std::size_t length = generator() % 70;
        put_page_frame(page, generator() % (size / 140), length, size - generator() % 24);
        const std::uint32_t hostile = generator() % 8;
        if ((hostile & 1) != 0) put_u16(page, 12, near_limit());
        if ((hostile & 2) != 0) put_u16(page, 14, near_limit());
        if ((hostile & 4) != 0) put_u16(page, 16, near_limit());
      }
      expect_round_trip(pages, size);
      const base::ByteView first = base::ByteView(pages).first(size);
      const base::Bytes out = rearranged(first, size);
      if (!std::equal(first.begin(), first.end(), out.begin())) ++moved;
    }
    EXPECT_GT(moved, 40) << size;  // or the test would test nothing
  }
}

struct Packed {
  base::Bytes bytes;
  std::size_t plain_size = 0;
};

Packed packed_index_pages(std::uint32_t count) {
  base::Bytes pages;
  for (std::uint32_t i = 0; i < count; ++i) append(pages, index_page(kPage, 16, i));
  base::Bytes out(pages.size());
  const auto size = Compressor(3).compress_pages(pages, kPage, out);
  EXPECT_TRUE(size);
  out.resize(*size);
  return {out, pages.size()};
}

TEST(PageCodec, MakesIndexPagesSmall) {
  base::Bytes pages;
  for (std::uint32_t i = 0; i < 128; ++i) append(pages, index_page(kPage, 16, i));
  base::Bytes out(pages.size());
  Compressor compressor(3);
  const auto plain_order = compressor.compress(pages, out);
  const auto size = compressor.compress_pages(pages, kPage, out);
  ASSERT_TRUE(size && plain_order);
  EXPECT_LT(*size, *plain_order / 2);
  EXPECT_EQ(out[0], 13);

  base::Bytes restored(pages.size());
  Decompressor decompressor;
  ASSERT_TRUE(decompressor.decompress_pages(base::ByteView(out).first(*size), restored));
  EXPECT_TRUE(restored == pages);
}

TEST(PageCodec, KeepsItsBuffersForChunksOfAnySize) {
  Compressor compressor(3);
  Decompressor decompressor;
  for (const std::size_t size : {8192u, 512u, 65'536u, 1024u}) {
    base::Bytes pages;
    for (std::uint32_t i = 0; i < 6; ++i) append(pages, index_page(size, 24, i));
    base::Bytes out(pages.size());
    const auto packed = compressor.compress_pages(pages, size, out);
    ASSERT_TRUE(packed);
    base::Bytes restored(pages.size());
    ASSERT_TRUE(decompressor.decompress_pages(base::ByteView(out).first(*packed), restored));
    EXPECT_TRUE(restored == pages) << size;
  }
}

TEST(PageCodec, WhatDoesNotCompressIsLeft) {
  const base::Bytes pages = random_bytes(4 * kPage, 1);
  base::Bytes out(pages.size());
  EXPECT_FALSE(Compressor(3).compress_pages(pages, kPage, out));
  EXPECT_FALSE(Compressor(0).compress_pages(base::Bytes(kPage, 1), kPage, out));
  base::Bytes small(20);
  EXPECT_FALSE(Compressor(3).compress_pages(index_page(kPage, 16, 1), kPage, small));
  EXPECT_FALSE(Compressor(3).compress_pages(index_page(kPage, 16, 1), kPage, {}));
}

TEST(PageCodec, RefusesWhatIsOutOfBounds) {
  const Packed good = packed_index_pages(8);
  Decompressor decompressor;
  base::Bytes pages(good.plain_size);
  ASSERT_TRUE(decompressor.decompress_pages(good.bytes, pages));
  const auto expect_refused = [&](const base::Bytes& packed, std::size_t plain_size) {
    base::Bytes out(plain_size);
    EXPECT_FALSE(decompressor.decompress_pages(packed, out)) << plain_size;
  };
  for (const std::uint8_t page_size_log : base::Bytes{0, 8, 17, 63, 64, 255}) {
    base::Bytes bad = good.bytes;
    bad[0] = page_size_log;
    expect_refused(bad, good.plain_size);
  }
  expect_refused({}, good.plain_size);
  expect_refused({13}, good.plain_size);
  expect_refused(good.bytes, good.plain_size - 1);      // no whole pages
  expect_refused(good.bytes, good.plain_size - kPage);  // fewer than were packed
  expect_refused(good.bytes, good.plain_size + kPage);
  base::Bytes longer = good.bytes;
  longer.push_back(0);
  expect_refused(longer, good.plain_size);
}

// A chunk is stored with it, and only a chunk of pages.
TEST(PageCodec, IsWhatPagesAreStoredWith) {
  TestRepository repository;
  const Context context = repository.context();
  base::Bytes pages;
  for (std::uint32_t i = 0; i < 9; ++i) append(pages, index_page(kPage, 16, i));
  StoreRun run(context);
  const ChunkId paged = run.writer->put_pages(pages, kPage);
  const ChunkId plain = run.writer->put_bytes(pages);
  const ChunkId random = run.writer->put_pages(random_bytes(kPage, 1), kPage);
  run.finish();
  const Index index = Index::load(context);
  EXPECT_EQ(index.find(paged)->codec, Codec::kZstdPages);
  EXPECT_EQ(index.find(plain)->codec, Codec::kZstd);
  EXPECT_EQ(index.find(random)->codec, Codec::kNone);
  EXPECT_LT(index.find(paged)->stored_length, index.find(plain)->stored_length / 2);
  ChunkReader reader(context, index);
  EXPECT_TRUE(reader.read(paged) == pages);
  EXPECT_EQ(reader.read_and_check_id(paged, pages), pages.size());
}

}  // namespace
}  // namespace holdfast::repository
