#include "postgres/wal_marks.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace holdfast::postgres {
namespace {

WalSegmentInfo full_segment() {
  WalSegmentInfo info;
  info.start = 0x1'00000000;
  info.segment_size = 1 << 24;
  info.end = info.start + info.segment_size;
  return info;
}

WalMarks round_trip(const WalSegmentInfo& info) {
  repository::LogInfo log;
  if (auto section = encode_marks(marks_of(info))) log.sections.push_back(std::move(*section));
  return decode_marks(log, "wal/1/00000001/x");
}

TEST(WalMarks, NothingIsNoSection) {
  EXPECT_FALSE(encode_marks(marks_of(full_segment())));
  EXPECT_TRUE(round_trip(full_segment()).complete);
  EXPECT_FALSE(round_trip(full_segment()).may_hold(1));
}

TEST(WalMarks, KnowEachTransaction) {
  WalSegmentInfo info = full_segment();
  for (const std::uint32_t xid : {9U, 7U, 8U, 5U, 0xFFFFFFFFU, 3U, 7U}) info.ends.push_back({xid});
  const WalMarks marks = round_trip(info);
  for (const std::uint32_t xid : {3U, 5U, 7U, 8U, 9U, 0xFFFFFFFFU})
    EXPECT_TRUE(marks.may_hold(xid));
  for (const std::uint32_t xid : {1U, 4U, 6U, 10U, 0xFFFFFFFEU}) EXPECT_FALSE(marks.may_hold(xid));
}

TEST(WalMarks, TransactionsInARowTakeLittle) {
  WalSegmentInfo info = full_segment();
  for (std::uint32_t xid = 1000; xid < 100'000; ++xid) info.ends.push_back({xid ^ 1});
  EXPECT_LT(encode_marks(marks_of(info))->content.size(), 20U);
}

TEST(WalMarks, ALongListBecomesARange) {
  WalSegmentInfo info = full_segment();
  for (std::uint32_t xid = 1000; xid < 200'000; xid += 2) info.ends.push_back({xid});
  EXPECT_LT(encode_marks(marks_of(info))->content.size(), 20U);
  const WalMarks marks = round_trip(info);
  EXPECT_TRUE(marks.may_hold(1000) && marks.may_hold(199'998));
  EXPECT_FALSE(marks.may_hold(999) || marks.may_hold(199'999));
}

TEST(WalMarks, KeepRestorePoints) {
  WalSegmentInfo info = full_segment();
  const base::Time time{std::chrono::microseconds(1'700'000'000'000'000)};
  info.restore_points = {{"one", time, 0x1'00000028}, {"", time, 0x1'00000100}};
  const WalMarks marks = round_trip(info);
  ASSERT_EQ(marks.restore_points.size(), 2U);
  EXPECT_EQ(marks.restore_points[0].name, "one");
  EXPECT_EQ(marks.restore_points[0].time, time);
  EXPECT_EQ(marks.restore_points[1].lsn, 0x1'00000100U);
  EXPECT_TRUE(marks.complete);
  info.restore_points.resize(10'000);
  EXPECT_FALSE(round_trip(info).complete);
}

TEST(WalMarks, SayWhatTheyDoNotKnow) {
  WalSegmentInfo cut = full_segment();
  cut.marks_missing = true;
  WalSegmentInfo unfinished = full_segment();
  unfinished.end -= 8;
  for (const WalSegmentInfo& info : {cut, unfinished}) {
    EXPECT_FALSE(round_trip(info).complete);
    EXPECT_TRUE(round_trip(info).may_hold(5));
  }
}

TEST(WalMarks, RefuseWhatIsMalformed) {
  const base::Bytes contents[] = {
      {},                                          // nothing
      {1, 5, 1, 1, 0},                             // fewer than it says
      {1, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 1, 0},  // past the greatest number
      {1, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0},
      {1, 0, 1, 0},  // half a restore point
      {1, 0, 0, 0},  // more than it says
  };
  for (const base::Bytes& content : contents) {
    repository::LogInfo log;
    log.sections.push_back({kMarksSection, content});
    try {
      decode_marks(log, "wal/1/00000001/x");
      ADD_FAILURE() << content.size();
    } catch (const base::Error& error) {
      EXPECT_EQ(error.kind(), base::ErrorKind::kDamaged);
    }
  }
}

}  // namespace
}  // namespace holdfast::postgres
