// How the changes of segments are joined over records that their ends cut, and how they are stored.

#include "postgres/segment_changes.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "postgres/change_collector.h"
#include "postgres/wal_records.h"

namespace holdfast::postgres {
namespace {

constexpr Lsn kStart = 0x1'00000000;
constexpr std::uint32_t kSize = 1 << 20;
constexpr RelationId kFirst = {1663, 5, 16384};
constexpr RelationId kSecond = {1663, 5, 16385};
constexpr std::uint8_t kHeap = 10;

SegmentChanges stored(const SegmentChanges& changes) {
  repository::LogInfo info;
  info.sections.push_back(encode_changes(changes));
  return decode_changes(info, "wal/1/x").value();
}

TEST(SegmentChanges, AreNotKnownOfAnUnknownVersion) {
  WalBuilder wal(kStart);
  wal.record(kHeap, 0, block_payload({{.relation = kFirst, .block = 7}}, 10));
  set_page_magic(wal.bytes(), 0xD1FF);
  EXPECT_LE(changes_of(wal.bytes()).covered_to, kStart);
}

// Fills the segment so that the next record has that many bytes before its end.
void fill_up_to(WalBuilder& wal, std::size_t before_end) {
  while (wal.at() + WalBuilder::kPageSize < kSize + 100) {
    wal.record(kHeap, 0, block_payload({{.relation = kSecond, .block = 3}}, 3000));
  }
  const std::size_t payload = wal.payload_up_to(before_end);
  wal.record(kHeap, 0, block_payload({}, payload - 5));
  ASSERT_EQ(wal.at(), kSize - before_end);
}

struct CutRecord {
  std::uint8_t manager, info;
  base::Bytes payload;
};

// Two segments, with a record that is cut after so many bytes, as maps; and what the record
// changes.
struct CutPair {
  SegmentChanges earlier, later;
};
CutPair cut_pair(const CutRecord& record, std::size_t visible) {
  WalBuilder whole(kStart);
  whole.record(record.manager, record.info, record.payload);
  const base::ByteView bytes(whole.bytes().data() + 40, 24 + record.payload.size());

  WalBuilder earlier(kStart);
  fill_up_to(earlier, visible);
  const Lsn cut = earlier.record(record.manager, record.info, record.payload);
  const base::ByteView rest = bytes.subspan(visible);
  WalBuilder later(kStart + kSize, kSize, static_cast<std::uint32_t>(rest.size()), rest);
  later.set_previous(cut);
  later.record(kHeap, 0, block_payload({{.relation = kSecond, .block = 4}}, 30));
  CutPair pair{changes_of(earlier.bytes()), changes_of(later.bytes())};
  EXPECT_EQ(pair.earlier.covered_to, kStart + kSize);
  EXPECT_EQ(pair.later.covered_to, later.lsn());
  return {stored(pair.earlier), stored(pair.later)};
}

const std::vector<CutRecord>& cut_records() {
  static const std::vector<CutRecord> records = {
      {kHeap, 0,
       block_payload({{.relation = kFirst,
                       .block = 7,
                       .image_size = 300,
                       .image_info = 5,
                       .hole_length = true},
                      {.relation = {}, .block = 8, .same_relation = true, .data_size = 30},
                      {.relation = {1700, 9, 1}, .block = 9}},
                     40)},
      {2, 0x10, main_payload({1663, 5, 16384, 0})},
      {2, 0x20, main_payload({12, 1663, 5, 16384, 7})},
      {4, 0x00, main_payload({70, 1663, 1, 1663})},
      {4, 0x20, main_payload({70, 3, 1663, 1700, 1701})},
      {1, 0x80, transaction_payload(7, 20)},
      {1, 0xA0, transaction_payload(4, 20)},
  };
  return records;
}

TEST(SegmentChanges, JoinARecordThatIsCutAnywhere) {
  for (const CutRecord& record : cut_records()) {
    WalBuilder whole(kStart);
    whole.record(record.manager, record.info, record.payload);
    const std::string expected = text_of(changes_of(whole.bytes()).map);
    ASSERT_NE(expected, "");
    bool had_tail = false;
    for (std::size_t visible = 8; visible < 24 + record.payload.size(); visible += 8) {
      SCOPED_TRACE(
          fmt::format("manager {} info {:X} cut at {}", record.manager, record.info, visible));
      CutPair pair = cut_pair(record, visible);
      had_tail |= !pair.earlier.tail.empty();
      ChangeMap map = pair.earlier.map;
      EXPECT_EQ(join_segments(pair.earlier, pair.later, map), SegmentJoin::kDone);
      map.relations.erase(kSecond);  // of the filling
      EXPECT_EQ(text_of(map), expected);
    }
    EXPECT_TRUE(had_tail);
  }
}

TEST(SegmentChanges, SayWhereTheyCannotBeJoined) {
  const auto join = [](const CutPair& pair) {
    ChangeMap map;
    return join_segments(pair.earlier, pair.later, map);
  };
  const CutPair pair = cut_pair(cut_records()[0], 32);
  ASSERT_FALSE(pair.earlier.tail.empty());
  EXPECT_EQ(join(pair), SegmentJoin::kDone);

  CutPair changed = pair;
  changed.later.front.resize(10);
  EXPECT_EQ(join(changed), SegmentJoin::kUntold);
  changed = pair;
  changed.later.front[0] = 0x01;  // an image that is not compressed has a shorter header
  EXPECT_EQ(join(changed), SegmentJoin::kUntold);
  changed = pair;
  changed.later.continued_size -= 8;
  EXPECT_EQ(join(changed), SegmentJoin::kForeign);
  changed = pair;
  changed.later.continued_size = 0;
  EXPECT_EQ(join(changed), SegmentJoin::kForeign);
  changed.later.overwrites = true;  // the server gave the record up
  EXPECT_EQ(join(changed), SegmentJoin::kDone);
  changed.later.continued_size = pair.later.continued_size;  // it goes on, whatever else it says
  ChangeMap joined;
  EXPECT_EQ(join_segments(changed.earlier, changed.later, joined), SegmentJoin::kDone);
  EXPECT_FALSE(joined.relations.empty());
  changed = pair;
  changed.later.record_before -= 8;
  EXPECT_EQ(join(changed), SegmentJoin::kForeign);

  // Dropped relations for which what is kept of the later segment is not enough.
  EXPECT_EQ(join(cut_pair({1, 0x80, transaction_payload(4, 400)}, 64)), SegmentJoin::kUntold);
}

TEST(SegmentChanges, NoteThatALaterSegmentOverwrites) {
  WalBuilder wal(kStart);
  wal.record(kHeap, 0, block_payload({}, 30));
  EXPECT_FALSE(changes_of(wal.bytes()).overwrites);
  wal.bytes()[2] |= 8;
  EXPECT_TRUE(stored(changes_of(wal.bytes())).overwrites);
}

TEST(SegmentChanges, CoverWhatCanBeFollowed) {
  WalBuilder wal(kStart);
  wal.record(kHeap, 0, block_payload({{.relation = kFirst, .block = 1}}, 30));
  const Lsn broken = wal.record(kHeap, 0, base::Bytes(40, 0xF1));
  wal.record(kHeap, 0, block_payload({{.relation = kFirst, .block = 2}}, 30));
  const SegmentChanges changes = changes_of(wal.bytes());
  EXPECT_EQ(changes.covered_to, broken);
  EXPECT_EQ(blocks_of(changes.map, kFirst), std::set<std::uint32_t>{1});

  // A front that ends within a record.
  WalBuilder longer(kStart);
  longer.record(kHeap, 0, block_payload({{.relation = kFirst, .block = 1}}, 30));
  const Lsn cut = longer.record(2, 0x10, main_payload({1663, 5, 16384, 0}));
  const base::ByteView front(longer.bytes().data(), cut - kStart + 32);
  EXPECT_EQ(changes_of(front).covered_to, cut);
}

SegmentChanges random_changes(TestRandom& random) {
  SegmentChanges changes;
  changes.page_magic = 0xD110;
  changes.covered_to = random();
  changes.last_record = random();
  changes.record_before = random();
  changes.overwrites = random() % 2 == 0;
  changes.continued_size = random() % 3000;
  changes.front.assign(std::min(changes.continued_size, 1024U), 0xAB);
  if (random() % 2 == 0) changes.tail.assign(8 + random() % 300, 0xCD);
  ChangeCollector collector;
  const auto relation = [&] {
    return RelationId{1663 + static_cast<std::uint32_t>(random() % 3),
                      static_cast<std::uint32_t>(random() % 4),
                      static_cast<std::uint32_t>(random() % 2 == 0 ? random() : random() % 50)};
  };
  const auto some = [&](std::uint32_t most) { return static_cast<std::uint32_t>(random() % most); };
  for (std::uint32_t left = some(200); left > 0; --left) collector.change(relation(), some(5000));
  for (std::uint32_t left = some(9); left > 0; --left) collector.create(relation());
  for (std::uint32_t left = some(9); left > 0; --left) collector.drop(relation());
  for (std::uint32_t left = some(9); left > 0; --left) collector.truncate(relation(), some(5000));
  for (std::uint32_t left = some(9); left > 0; --left)
    collector.create(DatabaseId{some(9), some(9)});
  for (std::uint32_t left = some(9); left > 0; --left) collector.drop(DatabaseId{some(9), some(9)});
  collector.change({UINT32_MAX, UINT32_MAX, UINT32_MAX}, UINT32_MAX - 1);
  changes.map = collector.take().value();
  return changes;
}

TEST(SegmentChanges, AreStoredAsTheyAre) {
  TestRandom random(7);
  for (int i = 0; i < 200; ++i) {
    const SegmentChanges changes = random_changes(random);
    const SegmentChanges again = stored(changes);
    EXPECT_EQ(text_of(again.map), text_of(changes.map));
    EXPECT_EQ(again.front, changes.front);
    EXPECT_EQ(again.tail, changes.tail);
    EXPECT_EQ(std::tuple(again.page_magic, again.covered_to, again.last_record, again.record_before,
                         again.overwrites, again.continued_size),
              std::tuple(changes.page_magic, changes.covered_to, changes.last_record,
                         changes.record_before, changes.overwrites, changes.continued_size));
  }
  EXPECT_FALSE(decode_changes({}, "wal/1/x"));
}

TEST(SegmentChanges, BecomeCoarserBeforeTheyBecomeTooLarge) {
  SegmentChanges changes;
  changes.covered_to = kStart + kSize;
  for (std::uint32_t i = 0; i < 3'000'000; ++i) {
    changes.map.relations[kFirst].blocks.push_back({1000 * i, 1});
  }
  changes.map.relations[kSecond].blocks = {{7, 1}};
  ASSERT_GT(encode_changes(changes).content.size(), 20U);
  const SegmentChanges again = stored(changes);
  EXPECT_EQ(again.map.relations.at(kFirst).whole_from, 0U);
  EXPECT_EQ(blocks_of(again.map, kSecond), std::set<std::uint32_t>{7});
  EXPECT_EQ(again.covered_to, kStart + kSize);
}

TEST(SegmentChanges, DecodeAnyBytes) {
  TestRandom random(11);
  int damaged = 0;
  for (int i = 0; i < 5000; ++i) {
    base::Bytes content = encode_changes(random_changes(random)).content;
    for (std::uint32_t left = 1 + random() % 4; left > 0 && !content.empty(); --left) {
      const std::size_t at = random() % content.size();
      if (random() % 8 == 0) {
        content.resize(at);
      } else {
        content[at] = static_cast<std::uint8_t>(random() % 3 == 0 ? 0xFF : random());
      }
    }
    repository::LogInfo info;
    info.sections.push_back({kChangesSection, std::move(content)});
    try {
      const SegmentChanges changes = decode_changes(info, "wal/1/x").value();
      ChangeMap map = changes.map;
      map.add(changes.map);
      EXPECT_EQ(text_of(stored(changes).map), text_of(changes.map));
      join_segments(changes, changes, map);
    } catch (const base::Error& error) {
      EXPECT_EQ(error.kind(), base::ErrorKind::kDamaged);
      ++damaged;
    }
  }
  EXPECT_GT(damaged, 500);
}

TEST(SegmentChanges, ScanAnyBytes) {
  TestRandom random(13);
  WalBuilder wal(kStart);
  for (int i = 0; i < 100; ++i) {
    for (const CutRecord& each : cut_records()) wal.record(each.manager, each.info, each.payload);
  }
  const std::size_t used = wal.at();
  for (int i = 0; i < 3000; ++i) {
    base::Bytes segment = wal.bytes();
    for (std::uint32_t left = 1 + random() % 20; left > 0; --left) {
      const std::size_t at = 40 + random() % (used - 40);
      segment[at] = static_cast<std::uint8_t>(random() % 3 == 0 ? 0xFF : random());
    }
    segment.resize(random() % 4 == 0 ? 40 + random() % used : segment.size());
    const SegmentChanges changes = changes_of(segment);
    EXPECT_LE(changes.covered_to, kStart + segment.size() + 8);
    EXPECT_EQ(text_of(stored(changes).map), text_of(changes.map));
  }
}

}  // namespace
}  // namespace holdfast::postgres
