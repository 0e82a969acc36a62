#include "postgres/wal_name.h"

#include <gtest/gtest.h>

namespace holdfast::postgres {
namespace {

constexpr std::uint32_t kMiB = 1 << 20;

TEST(Lsn, IsPrintedAsPostgresDoes) {
  EXPECT_EQ(format_lsn(0), "0/0");
  EXPECT_EQ(format_lsn(0x16'B374D848), "16/B374D848");
  EXPECT_EQ(format_lsn(0x1'00000028), "1/28");
  EXPECT_EQ(format_lsn(~Lsn{0}), "FFFFFFFF/FFFFFFFF");
}

TEST(Lsn, IsRead) {
  EXPECT_EQ(parse_lsn("16/B374D848"), 0x16'B374D848);
  EXPECT_EQ(parse_lsn("16/b374d848"), 0x16'B374D848);
  EXPECT_EQ(parse_lsn("0/00000028"), 0x28U);
  EXPECT_EQ(parse_lsn("FFFFFFFF/FFFFFFFF"), ~Lsn{0});
}

TEST(Lsn, RefusesAllElse) {
  for (const char* text : {"", "/", "0", "0/", "/0", "0/0/0", "0x1/2", "+1/2", "-1/2", " 1/2",
                           "1/2 ", "G/0", "123456789/0", "0/123456789"}) {
    EXPECT_EQ(parse_lsn(text), std::nullopt) << text;
  }
}

TEST(SegmentName, CountsSegmentsOfItsSize) {
  const SegmentName name{.timeline = 3, .number = 0x12'34};
  EXPECT_EQ(format_segment_name(name, 16 * kMiB), "000000030000001200000034");
  EXPECT_EQ(format_segment_name(name, kMiB), "000000030000000100000234");
  EXPECT_EQ(format_segment_name(name, 1024 * kMiB),
            "00000003"
            "0000048D"
            "00000000");
  for (const std::uint32_t size : {kMiB, 16 * kMiB, 64 * kMiB, 1024 * kMiB}) {
    EXPECT_EQ(parse_segment_name(format_segment_name(name, size), size), name) << size;
  }
}

TEST(SegmentName, RefusesASegmentThatTheSizeDoesNotHave) {
  EXPECT_TRUE(parse_segment_name("0000000100000000000000FF", 16 * kMiB));
  EXPECT_FALSE(parse_segment_name("000000010000000000000100", 16 * kMiB));
  EXPECT_TRUE(parse_segment_name("000000010000000000000100", kMiB));
  EXPECT_FALSE(parse_segment_name("000000010000000000000004", 1024 * kMiB));
}

TEST(SegmentName, RefusesWhatIsNone) {
  for (const char* text :
       {"", "00000001000000000000000", "0000000100000000000000001", "000000000000000000000001",
        "00000001000000000000000a", "000000010000000000000001.partial", "00000001.history"}) {
    EXPECT_EQ(parse_segment_name(text, 16 * kMiB), std::nullopt) << text;
  }
}

TEST(SegmentName, FollowsFromAPosition) {
  const Lsn start = 0x2'03000000;
  EXPECT_EQ(segment_number(start, 16 * kMiB), 0x203U);
  EXPECT_EQ(segment_number(start - 1, 16 * kMiB), 0x202U);
  EXPECT_EQ(segment_number_before(start, 16 * kMiB), 0x202U);
  EXPECT_EQ(segment_number_before(start + 1, 16 * kMiB), 0x203U);
  EXPECT_EQ(segment_number_before(0, 16 * kMiB), 0U);
  EXPECT_EQ(segment_start(0x203, 16 * kMiB), start);
}

TEST(SegmentSize, IsAPowerOfTwoFrom1MiBTo1GiB) {
  EXPECT_TRUE(is_segment_size(kMiB));
  EXPECT_TRUE(is_segment_size(1024 * kMiB));
  for (const std::uint64_t size :
       {std::uint64_t{0}, std::uint64_t{kMiB / 2}, std::uint64_t{3 * kMiB}, std::uint64_t{kMiB + 1},
        std::uint64_t{2048} * kMiB}) {
    EXPECT_FALSE(is_segment_size(size)) << size;
  }
}

TEST(WalFileName, KnowsTheFourKinds) {
  const auto segment = parse_wal_file_name("0000000A0000000000000002");
  ASSERT_TRUE(segment);
  EXPECT_EQ(segment->kind, WalFileKind::kSegment);
  EXPECT_EQ(segment->timeline, 10U);
  EXPECT_EQ(segment->segment(), "0000000A0000000000000002");

  const auto partial = parse_wal_file_name("000000010000000000000002.partial");
  ASSERT_TRUE(partial);
  EXPECT_EQ(partial->kind, WalFileKind::kPartial);
  EXPECT_EQ(partial->segment(), "000000010000000000000002");
  EXPECT_EQ(partial->text, "000000010000000000000002.partial");

  const auto history = parse_wal_file_name("00000002.history");
  ASSERT_TRUE(history);
  EXPECT_EQ(history->kind, WalFileKind::kHistory);
  EXPECT_EQ(history->timeline, 2U);
  EXPECT_EQ(history->segment(), "");
  EXPECT_EQ(history_file_name(2), history->text);

  const auto backup = parse_wal_file_name("000000010000000000000002.00000028.backup");
  ASSERT_TRUE(backup);
  EXPECT_EQ(backup->kind, WalFileKind::kBackupHistory);
  EXPECT_EQ(backup->segment(), "000000010000000000000002");
}

TEST(WalFileName, RefusesAllElse) {
  for (const char* text :
       {"", "RECOVERYXLOG", "archive_status", "000000010000000000000002.ready",
        "000000010000000000000002.partial.gz", "000000010000000000000002.0000028.backup",
        "000000010000000000000002.00000028.backu", "00000000.history", "0000000a.history",
        "0000002.history", "000000000000000000000002", "../000000010000000000000002",
        "00000001000000000000000/", "000000010000000000000002\n", "00000001000000000000000g"}) {
    EXPECT_EQ(parse_wal_file_name(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace holdfast::postgres
