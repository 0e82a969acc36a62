#include "postgres/page_places.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace holdfast::postgres {
namespace {

using repository::ChunkId;
using repository::Extent;

constexpr std::uint32_t kPage = 8192;

ChunkId chunk(std::uint32_t number) {
  ChunkId id;
  for (int i = 0; i < 4; ++i) id.bytes[i] = static_cast<std::uint8_t>(number >> (8 * i));
  id.bytes[31] = 1;
  return id;
}

// A file of whole chunks of 128 pages, numbered from `first`.
std::vector<Extent> whole_chunks(std::uint32_t count, std::uint32_t first = 1) {
  std::vector<Extent> extents;
  for (std::uint32_t i = 0; i < count; ++i) {
    extents.push_back({std::uint64_t{kChunkPages} * kPage, chunk(first + i), 0});
  }
  return extents;
}

PagePlaces places_of(const std::vector<Extent>& extents) {
  return PagePlaces::of(extents, kPage).value();
}

std::uint32_t all_of_128(const ChunkId&) { return kChunkPages; }

TEST(PagePlaces, GivesBackTheExtentsItWasMadeOf) {
  std::vector<Extent> extents = whole_chunks(3);
  extents.push_back({5 * kPage, ChunkId{}, 0});
  extents.push_back({2 * kPage, chunk(9), 7 * kPage});
  extents.push_back({1 * kPage, chunk(9), 3 * kPage});
  const std::vector<Extent> again = places_of(extents).extents(kPage);
  ASSERT_EQ(again.size(), extents.size());
  for (std::size_t i = 0; i < extents.size(); ++i) {
    EXPECT_EQ(again[i].length_bytes, extents[i].length_bytes);
    EXPECT_EQ(again[i].chunk, extents[i].chunk);
    EXPECT_EQ(again[i].chunk_offset, extents[i].chunk_offset);
  }
}

TEST(PagePlaces, RefusesExtentsThatSplitPages) {
  EXPECT_FALSE(PagePlaces::of(std::vector<Extent>{{100, chunk(1), 0}}, kPage));
  EXPECT_FALSE(PagePlaces::of(std::vector<Extent>{{kPage, chunk(1), 100}}, kPage));
}

TEST(PagePlaces, PutsChangedPagesElsewhereAndLeavesTheOthers) {
  PagePlaces places = places_of(whole_chunks(2));
  const PageNumbers changed = {0, 5, 6, 200};
  places.set(changed, chunk(50));
  const std::vector<Extent> extents = places.extents(kPage);
  // 0 | 1-4 | 5-6 | 7-127 | 128-199 | 200 | 201-255
  ASSERT_EQ(extents.size(), 7U);
  EXPECT_EQ(extents[2].chunk, chunk(50));
  EXPECT_EQ(extents[2].length_bytes, 2U * kPage);
  EXPECT_EQ(extents[2].chunk_offset, 1U * kPage);
  EXPECT_EQ(extents[5].chunk_offset, 3U * kPage);
  EXPECT_EQ(extents[6].chunk, chunk(2));
  EXPECT_EQ(extents[6].chunk_offset, 73U * kPage);
}

TEST(PagePlaces, NewPagesAreZeroUntilTheyAreSet) {
  PagePlaces places = places_of(whole_chunks(1));
  places.resize(130);
  const std::vector<Extent> extents = places.extents(kPage);
  ASSERT_EQ(extents.size(), 2U);
  EXPECT_TRUE(extents[1].chunk.is_zero_range());
  EXPECT_EQ(extents[1].length_bytes, 2U * kPage);
}

TEST(ScatteredPages, AFewChangesTakeNothingAlong) {
  PageNumbers taken = {3, 77, 300};
  add_scattered_pages(places_of(whole_chunks(4)), all_of_128, 512, taken);
  EXPECT_EQ(taken, (PageNumbers{3, 77, 300}));
}

TEST(ScatteredPages, AGroupOfWhichHalfIsTakenIsTakenWhole) {
  PageNumbers taken;
  for (std::uint32_t page = 128; page < 192; ++page) taken.push_back(page);
  add_scattered_pages(places_of(whole_chunks(4)), all_of_128, 512, taken);
  ASSERT_EQ(taken.size(), 128U);
  EXPECT_EQ(taken.front(), 128U);
  EXPECT_EQ(taken.back(), 255U);
}

TEST(ScatteredPages, WhatIsLeftOfAHollowChunkGoesAlong) {
  PagePlaces places = places_of(whole_chunks(8));
  // 40 pages, each in a group of its own but for a few: of this chunk 39 of 128 are in use then.
  PageNumbers old;
  for (std::uint32_t i = 0; i < 40; ++i) old.push_back(i * 25);
  places.set(old, chunk(99));
  PageNumbers taken = {25};
  add_scattered_pages(places, all_of_128, 1024, taken);
  EXPECT_EQ(taken, old);
}

// The rule's promise, over a long series of backups with changes at random places.
TEST(ScatteredPages, NeverMoreThanSixteenChunksOverlapAfterAnyNumberOfBackups) {
  constexpr std::uint32_t kPages = 16 * 1024;
  PagePlaces places = places_of(whole_chunks(kPages / kChunkPages));
  std::map<ChunkId, std::uint32_t> lengths;
  for (const ChunkId& id : places.chunks()) lengths[id] = kChunkPages;
  std::mt19937 random(7);
  std::uint32_t next_chunk = 1000;
  std::uint64_t changed = 0;
  std::uint64_t stored = 0;
  for (int backup = 0; backup < 1000; ++backup) {
    PageNumbers taken;
    for (int i = 0; i < 16; ++i) taken.push_back(static_cast<std::uint32_t>(random() % kPages));
    std::sort(taken.begin(), taken.end());
    taken.erase(std::unique(taken.begin(), taken.end()), taken.end());
    changed += taken.size();
    add_scattered_pages(
        places, [&](const ChunkId& id) { return lengths.at(id); }, kPages, taken);
    stored += taken.size();
    for (std::size_t i = 0; i < taken.size(); i += kChunkPages) {
      const auto part =
          std::span(taken).subspan(i, std::min<std::size_t>(kChunkPages, taken.size() - i));
      lengths[chunk(next_chunk)] = static_cast<std::uint32_t>(part.size());
      places.set(part, chunk(next_chunk++));
    }
    places = places_of(places.extents(kPage));  // as the next backup finds it
  }
  std::map<std::uint32_t, std::pair<std::uint32_t, std::uint32_t>> spans;
  std::map<std::uint32_t, std::uint32_t> in_use;
  for (std::uint32_t page = 0; page < kPages; ++page) {
    const std::uint32_t number = places[page].chunk;
    spans.try_emplace(number, page, page).first->second.second = page;
    ++in_use[number];
  }
  std::uint32_t unpacked = 0;
  for (const auto& [number, span] : spans) unpacked += lengths.at(places.chunks()[number]);
  for (std::uint32_t page = 0; page < kPages; page += 64) {
    const auto overlapping = std::count_if(spans.begin(), spans.end(), [&](const auto& entry) {
      return entry.second.first <= page && page <= entry.second.second;
    });
    // The backup that just passed may have added its own.
    EXPECT_LE(overlapping, 18) << "at page " << page;
  }
  EXPECT_LE(unpacked, 2 * kPages);  // a restore unpacks at most twice what it writes
  EXPECT_LE(stored, 8 * changed);   // and that costs a few times what changed
  RecordProperty("stored_per_changed", static_cast<int>(stored / changed));
}

}  // namespace
}  // namespace holdfast::postgres
