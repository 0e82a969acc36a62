// What single records change, and the union of many.

#include "postgres/change_map.h"

#include <gtest/gtest.h>

#include "postgres/change_collector.h"
#include "postgres/wal_records.h"

namespace holdfast::postgres {
namespace {

constexpr Lsn kStart = 0x1'00000000;
constexpr std::uint32_t kSize = 1 << 20;
constexpr RelationId kFirst = {1663, 5, 16384};
constexpr RelationId kSecond = {1663, 5, 16385};
constexpr std::uint8_t kHeap = 10;

// Of a segment with this one record, of that version; empty where the record is malformed.
std::string read_one(std::uint8_t manager, std::uint8_t info, const base::Bytes& payload,
                     std::uint16_t magic = 0xD110) {
  WalBuilder wal(kStart);
  wal.record(manager, info, payload);
  const Lsn end = wal.lsn();
  set_page_magic(wal.bytes(), magic);
  const SegmentChanges changes = changes_of(wal.bytes());
  EXPECT_TRUE(changes.covered_to == end || changes.covered_to == kStart + 40);
  return changes.covered_to == end ? text_of(changes.map) : "malformed";
}

TEST(ChangeMap, IsAUnion) {
  ChangeMap map, other;
  map.relations[kFirst].blocks = {{1, 2}, {10, 5}, {100, 1}};
  other.relations[kFirst].blocks = {{0, 1}, {4, 1}, {12, 10}, {99, 1}, {101, 1}};
  other.relations[kSecond].truncated = true;
  other.relations[kSecond].whole_from = 7;
  map.add(other);
  EXPECT_EQ(text_of(map),
            "1663/5/16384 falsefalsefalse 4294967295: 0+3 4+1 10+12 99+3\n"
            "1663/5/16385 falsetruefalse 7:\n");
  other = {};
  other.relations[kFirst].whole_from = 15;
  other.relations[kSecond].blocks = {{5, 10}};
  map.add(other);
  EXPECT_EQ(text_of(map),
            "1663/5/16384 falsefalsefalse 15: 0+3 4+1 10+5\n"
            "1663/5/16385 falsetruefalse 7: 5+2\n");
}

TEST(ChangeMap, WhatIsDroppedAndCreatedCountsAsCreated) {
  for (const bool created_first : {true, false}) {
    ChangeMap created, dropped;
    created.relations[kFirst] = {.blocks = {}, .whole_from = 0, .created = true};
    created.databases[{1663, 7}].created = true;
    dropped.relations[kFirst].dropped = true;
    dropped.databases[{1663, 7}].dropped = true;
    ChangeMap& map = created_first ? created : dropped;
    map.add(created_first ? dropped : created);
    EXPECT_EQ(text_of(map), "1663/5/16384 truefalsefalse 0:\n1663/7 truefalse\n");
  }
}

TEST(ChangeCollector, SortsManyBlocks) {
  TestRandom random(3);
  for (const std::size_t count : {std::size_t{10}, std::size_t{3000}, std::size_t{300'000}}) {
    ChangeCollector collector;
    std::set<std::uint32_t> expected;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t block = i % 3 == 0 ? random() % 5000 : random() % 0xFFFFFFFE;
      collector.change(i % 2 == 0 ? kFirst : kSecond, block);
      if (i % 2 == 0) expected.insert(block);
    }
    EXPECT_EQ(blocks_of(collector.take().value(), kFirst), expected);
    EXPECT_TRUE(collector.take().value().relations.empty());
  }
}

TEST(ChangeCollector, CallsTooMuchWhole) {
  ChangeCollector collector;
  for (std::uint32_t block = 0; block < 9'000'000; ++block) collector.change(kFirst, 2 * block);
  const ChangeMap map = collector.take().value();
  EXPECT_EQ(map.relations.at(kFirst).whole_from, 0U);
  EXPECT_TRUE(map.relations.at(kFirst).blocks.empty());

  for (std::uint32_t i = 0; i <= ChangeMap::kMaxRelations; ++i) collector.change({1, 2, i}, 0);
  EXPECT_FALSE(collector.take());
}

TEST(RecordChanges, NameMainForksOnly) {
  const auto payload =
      block_payload({{.relation = kFirst, .block = 7, .data_size = 20},
                     {.relation = {}, .block = 9, .fork = 2, .same_relation = true},
                     {.relation = kSecond, .block = 0, .image_size = 500},
                     {.relation = {}, .block = 8, .same_relation = true, .data_size = 3}},
                    300);
  EXPECT_EQ(read_one(kHeap, 0, payload),
            "1663/5/16384 falsefalsefalse 4294967295: 7+1\n"
            "1663/5/16385 falsefalsefalse 4294967295: 0+1 8+1\n");
  EXPECT_EQ(read_one(kHeap, 0, block_payload({}, 10)), "");
}

// The bits of an image changed with 15.
TEST(RecordChanges, KnowTheImagesOfEachVersion) {
  const auto image = [](std::uint8_t info, bool hole_length) {
    return block_payload({{.relation = kFirst,
                           .block = 7,
                           .image_size = 90,
                           .image_info = info,
                           .hole_length = hole_length}},
                         5);
  };
  const std::string expected = "1663/5/16384 falsefalsefalse 4294967295: 7+1\n";
  struct {
    std::uint16_t magic;
    std::uint8_t info;
    bool hole_length;
  } const cases[] = {{0xD106, 0x03, true},  {0xD106, 0x05, false}, {0xD10D, 0x07, true},
                     {0xD10D, 0x02, false}, {0xD110, 0x05, true},  {0xD113, 0x09, true},
                     {0xD116, 0x11, true},  {0xD118, 0x03, false}, {0xD110, 0x04, false}};
  for (const auto& each : cases) {
    SCOPED_TRACE(fmt::format("{:X} {:X}", each.magic, each.info));
    EXPECT_EQ(read_one(kHeap, 0, image(each.info, each.hole_length), each.magic), expected);
    EXPECT_EQ(read_one(kHeap, 0, image(each.info, !each.hole_length), each.magic), "malformed");
  }
}

TEST(RecordChanges, KnowWhatIsCreatedAndTruncated) {
  const std::uint8_t smgr = 2;
  EXPECT_EQ(read_one(smgr, 0x10, main_payload({1663, 5, 16384, 0})),
            "1663/5/16384 truefalsefalse 0:\n");
  EXPECT_EQ(read_one(smgr, 0x10, main_payload({1663, 5, 16384, 3})), "");
  EXPECT_EQ(read_one(smgr, 0x21, main_payload({12, 1663, 5, 16384, 7})),
            "1663/5/16384 falsetruefalse 12:\n");
  EXPECT_EQ(read_one(smgr, 0x20, main_payload({12, 1663, 5, 16384, 6})), "");
  EXPECT_EQ(read_one(smgr, 0x30, main_payload({12, 1663, 5, 16384, 6})), "malformed");
  EXPECT_EQ(read_one(smgr, 0x20, main_payload({12, 1663})), "malformed");
}

TEST(RecordChanges, KnowTheDatabasesOfEachVersion) {
  const std::uint8_t dbase = 4;
  const auto create = main_payload({70, 1663, 1, 1663});
  const auto create_logged = main_payload({70, 1664});
  const auto drop = main_payload({70, 2, 1663, 1700});
  const std::string dropped = "1663/70 falsetrue\n1700/70 falsetrue\n";
  for (const std::uint16_t magic : std::vector<std::uint16_t>{0xD106, 0xD10D}) {
    EXPECT_EQ(read_one(dbase, 0x00, create, magic), "1663/70 truefalse\n");
    EXPECT_EQ(read_one(dbase, 0x10, drop, magic), dropped);
    EXPECT_EQ(read_one(dbase, 0x20, drop, magic), "malformed");
  }
  for (const std::uint16_t magic : std::vector<std::uint16_t>{0xD110, 0xD113, 0xD116, 0xD118}) {
    EXPECT_EQ(read_one(dbase, 0x00, create, magic), "1663/70 truefalse\n");
    EXPECT_EQ(read_one(dbase, 0x10, create_logged, magic), "1664/70 truefalse\n");
    EXPECT_EQ(read_one(dbase, 0x20, drop, magic), dropped);
  }
  EXPECT_EQ(read_one(dbase, 0x20, main_payload({70, 200, 1})), "malformed");
}

TEST(RecordChanges, KnowWhatTransactionsDrop) {
  const std::string dropped = "1663/5/100 falsefalsetrue 4294967295:\n";
  for (const std::uint8_t operation : std::vector<std::uint8_t>{0x80, 0xA0, 0xB0, 0xC0}) {
    EXPECT_EQ(read_one(1, operation, transaction_payload(4, 1)), dropped);
    EXPECT_EQ(read_one(1, operation, transaction_payload(7, 1)), dropped);
    EXPECT_EQ(read_one(1, operation, transaction_payload(3, 0)), "");
  }
  EXPECT_EQ(read_one(1, 0x00, transaction_payload(4, 1)), "");  // no xinfo
  EXPECT_EQ(read_one(1, 0x90, transaction_payload(4, 1)), "");  // PREPARE ends nothing
  EXPECT_EQ(std::ranges::count(read_one(1, 0x80, transaction_payload(7, 3000)), '\n'), 3000);
}

TEST(RecordChanges, EndWhereChangesAreNotLogged) {
  const auto parameters = [](std::uint32_t wal_level) {
    return main_payload({100, 8, 10, 0, 64, wal_level, 0});
  };
  EXPECT_EQ(read_one(0, 0x60, parameters(1)), "");
  EXPECT_EQ(read_one(0, 0x60, parameters(0)), "malformed");
}

TEST(RecordChanges, RefuseWhatIsMalformed) {
  const auto good = block_payload({{.relation = kFirst, .block = 7, .data_size = 20}}, 10);
  const auto changed = [&](std::size_t at, std::uint8_t value) {
    base::Bytes payload = good;
    payload[at] = value;
    return payload;
  };
  EXPECT_NE(read_one(kHeap, 0, good), "malformed");
  EXPECT_EQ(read_one(kHeap, 0, changed(0, 33)), "malformed");    // no such block id
  EXPECT_EQ(read_one(kHeap, 0, changed(1, 0xA0)), "malformed");  // the same relation as none
  EXPECT_EQ(read_one(kHeap, 0, changed(2, 21)), "malformed");    // more data than there are
  EXPECT_EQ(read_one(kHeap, 0, changed(20, 0)), "malformed");    // the same block again
  EXPECT_EQ(read_one(kHeap, 0, changed(21, 9)), "malformed");    // data left over
  EXPECT_EQ(read_one(kHeap, 0, base::Bytes(50, 0xF1)), "malformed");
  // Before 14 there was no number of a top-level transaction.
  const base::Bytes toplevel = {252, 1, 0, 0, 0, 255, 1, 0};
  EXPECT_EQ(read_one(kHeap, 0, toplevel, 0xD10D), "");
  EXPECT_EQ(read_one(kHeap, 0, toplevel, 0xD106), "malformed");
}

}  // namespace
}  // namespace holdfast::postgres
