#include "postgres/wal_segment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "base/error.h"
#include "postgres/wal_builder.h"

namespace holdfast::postgres {
namespace {

using base::Bytes;
using base::ByteView;
using testing::HasSubstr;

constexpr Lsn kStart = 0x1'00200000;
constexpr std::uint32_t kSize = 1 << 20;
constexpr std::uint8_t kCommit = 0x00;
constexpr std::uint8_t kPrepare = 0x10;
constexpr std::uint8_t kAbort = 0x20;
constexpr std::uint8_t kCommitPrepared = 0x30;
constexpr std::uint8_t kAbortPrepared = 0x40;
constexpr std::uint64_t kHour = 3'600'000'000;

// Microseconds since 2000, as a Time.
base::Time postgres_time(std::uint64_t microseconds) {
  return std::chrono::sys_days{std::chrono::year{2000} / 1 / 1} +
         base::Duration{static_cast<std::int64_t>(microseconds)};
}

// Fills the segment to its end with small records and a transaction now and then.
void fill(WalBuilder& wal) {
  for (std::uint64_t i = 0; wal.at() < kSize; ++i) {
    wal.filler(100 + i % 700);
    wal.transaction_end(kCommit, kHour + i);
  }
}

TEST(WalSegmentHeader, IsRead) {
  WalBuilder wal(kStart);
  const WalSegmentInfo info = read_segment_header(ByteView{wal.bytes()}.first(40));
  EXPECT_EQ(info.page_magic, 0xD110);
  EXPECT_EQ(info.page_size, 8192U);
  EXPECT_EQ(info.system_id, WalBuilder::kSystemId);
  EXPECT_EQ(info.timeline, 1U);
  EXPECT_EQ(info.start, kStart);
  EXPECT_EQ(info.segment_size, kSize);
  EXPECT_EQ(info.note, "");
}

TEST(WalSegmentHeader, KnowsTheServersVersions) {
  const std::pair<std::uint16_t, int> versions[] = {{0xD106, 13}, {0xD10D, 14}, {0xD110, 15},
                                                    {0xD113, 16}, {0xD116, 17}, {0xD118, 18}};
  for (const auto& [magic, version] : versions) {
    EXPECT_EQ(server_version_of_page_magic(magic), version);
  }
  EXPECT_EQ(server_version_of_page_magic(0xD119), 0);
}

TEST(WalSegmentHeader, TakesANewerServersWithANote) {
  WalBuilder wal(kStart);
  wal.bytes()[0] = 0x30;
  EXPECT_THAT(read_segment_header(wal.bytes()).note, HasSubstr("D130"));
}

TEST(WalSegmentHeader, SaysWhyItRefuses) {
  struct Case {
    std::size_t at;
    Bytes bytes;
    const char* reason;
  };
  const Case cases[] = {
      {0, {0x05, 0xD1}, "older server"},
      {0, {0x98, 0xD0}, "older server"},
      {0, {0xD1, 0x10}, "byte order"},
      {0, {0, 0}, "begins with 0000"},
      {0, {'P', 'K'}, "begins with 4B50"},
      {2, {0x05}, "header"},
      {4, {0, 0, 0, 0}, "timeline"},
      {8, {1}, "no segment begins"},
      {8, {0, 0, 0xF0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, "no segment begins"},
      {24, {0, 0, 0, 0, 0, 0, 0, 0}, "system identifier"},
      {32, {0, 0, 0x11, 0}, "its size is"},
      {32, {0, 0, 0, 0x80}, "its size is"},
      {36, {0, 0, 0, 0}, "pages have"},
      {36, {1, 0x20, 0, 0}, "pages have"},
      {36, {0, 0, 0x10, 0}, "pages have"},
  };
  for (const Case& item : cases) {
    WalBuilder wal(kStart);
    std::ranges::copy(item.bytes, wal.bytes().begin() + static_cast<std::ptrdiff_t>(item.at));
    try {
      read_segment_header(wal.bytes());
      ADD_FAILURE() << item.reason;
    } catch (const base::Error& error) {
      EXPECT_EQ(error.kind(), base::ErrorKind::kFailed);
      EXPECT_THAT(error.what(), HasSubstr(item.reason));
    }
  }
  EXPECT_THROW(read_segment_header(Bytes(39)), base::Error);
  EXPECT_THROW(read_segment_header({}), base::Error);
}

TEST(ScanSegment, RefusesMoreBytesThanASegmentHas) {
  WalBuilder wal(kStart);
  wal.bytes().push_back(0);
  EXPECT_THROW(scan_segment(wal.bytes()), base::Error);
}

TEST(ScanSegment, FindsNothingInAnEmptyOne) {
  WalBuilder wal(kStart);
  const WalSegmentInfo info = scan_segment(wal.bytes());
  EXPECT_EQ(info.last_record, 0U);
  EXPECT_EQ(info.end, kStart + 40);
  EXPECT_FALSE(info.first_commit);
}

TEST(ScanSegment, FindsTheEndsOfTransactions) {
  WalBuilder wal(kStart);
  wal.filler(50);
  wal.transaction_end(kCommit, 5 * kHour);
  wal.transaction_end(kPrepare, 1);                // no end, and its data are others
  wal.transaction_end(0x80 | kCommit, 4 * kHour);  // with more data: XLOG_XACT_HAS_INFO
  wal.transaction_end(0x50, 1);
  const Lsn last = wal.filler(10);
  const WalSegmentInfo info = scan_segment(wal.bytes());
  EXPECT_EQ(info.first_commit, postgres_time(4 * kHour));
  EXPECT_EQ(info.last_commit, postgres_time(5 * kHour));
  EXPECT_EQ(info.last_record, last);
  EXPECT_EQ(info.end, wal.lsn());
}

TEST(ScanSegment, CountsEveryKindOfEnd) {
  for (const std::uint8_t info : {kCommit, kAbort, kCommitPrepared, kAbortPrepared}) {
    WalBuilder wal(kStart);
    wal.transaction_end(info, kHour, 200);
    EXPECT_EQ(scan_segment(wal.bytes()).last_commit, postgres_time(kHour)) << int{info};
  }
}

TEST(ScanSegment, ReadsOriginTransactionAndLongData) {
  WalBuilder wal(kStart);
  base::ByteWriter payload;
  payload.u8(253);
  payload.u16(9);
  payload.u8(252);
  payload.u32(701);
  payload.u8(254);
  payload.u32(1000);
  payload.u64(kHour);
  payload.raw(Bytes(992));
  wal.record(1, kCommit, payload.view());
  EXPECT_EQ(scan_segment(wal.bytes()).last_commit, postgres_time(kHour));
}

TEST(ScanSegment, IgnoresImpossibleTimes) {
  WalBuilder wal(kStart);
  wal.transaction_end(kCommit, ~std::uint64_t{0});
  wal.transaction_end(kCommit, ~std::uint64_t{0} >> 1);
  const Lsn last = wal.record(1, kCommit, {});
  const WalSegmentInfo info = scan_segment(wal.bytes());
  EXPECT_FALSE(info.last_commit);
  EXPECT_EQ(info.last_record, last);
}

TEST(ScanSegment, FollowsAFullSegmentToItsEnd) {
  WalBuilder wal(kStart);
  fill(wal);
  const WalSegmentInfo info = scan_segment(wal.bytes());
  EXPECT_EQ(info.end, kStart + kSize);
  EXPECT_EQ(info.first_commit, postgres_time(kHour));
  EXPECT_GT(info.last_record, kStart + kSize - 1000);
}

// A record's header may be cut anywhere by the end of a page, on 8 bytes.
TEST(ScanSegment, FollowsRecordsOverPages) {
  for (std::size_t before = 0; before <= 64; before += 8) {
    WalBuilder wal(kStart);
    wal.filler(wal.payload_up_to(before));
    wal.transaction_end(kCommit, kHour, 100);
    const Lsn last = wal.filler(3 * WalBuilder::kPageSize);
    const WalSegmentInfo info = scan_segment(wal.bytes());
    EXPECT_EQ(info.last_commit, postgres_time(kHour)) << before;
    EXPECT_EQ(info.last_record, last) << before;
    EXPECT_EQ(info.end, wal.lsn()) << before;
  }
}

TEST(ScanSegment, SkipsWhatIsLeftOfTheSegmentBefore) {
  for (const std::uint32_t size : {1U, 8U, 8151U, 8152U, 8153U, 100'000U}) {
    WalBuilder wal(kStart, kSize, size);
    const Lsn last = wal.transaction_end(kCommit, kHour);
    const WalSegmentInfo info = scan_segment(wal.bytes());
    EXPECT_EQ(info.last_commit, postgres_time(kHour)) << size;
    EXPECT_EQ(info.last_record, last) << size;
  }
}

TEST(ScanSegment, FollowsARecordThatFillsTheWholeSegment) {
  WalBuilder wal(kStart, kSize, 3 * kSize);
  const WalSegmentInfo info = scan_segment(wal.bytes());
  EXPECT_EQ(info.last_record, 0U);
  EXPECT_EQ(info.end, kStart + kSize);
}

TEST(ScanSegment, CountsALastRecordThatRunsPastTheEnd) {
  const std::size_t room = WalBuilder::kPageSize;
  for (const std::size_t inside : {8U, 16U, 24U, 32U, 48U}) {
    WalBuilder wal(kStart);
    Lsn before = 0;
    while (wal.at() < kSize - room) {
      before = wal.filler(wal.payload_up_to(0));
    }
    before = wal.filler(WalBuilder::kPageSize - 24 - 24 - inside);
    const Lsn last = wal.transaction_end(kCommit, kHour, 100);
    ASSERT_EQ(last, kStart + kSize - inside);
    const WalSegmentInfo info = scan_segment(wal.bytes());
    EXPECT_EQ(info.last_record, inside < 24 ? before : last) << inside;
    EXPECT_EQ(info.last_commit.has_value(), inside >= 24 + 2 + 8) << inside;
    EXPECT_EQ(info.end, kStart + kSize) << inside;
  }
}

TEST(ScanSegment, EndsWithASwitch) {
  WalBuilder wal(kStart);
  wal.transaction_end(kCommit, kHour);
  const Lsn last = wal.record(0, 0x40, {});
  wal.transaction_end(kCommit, 9 * kHour);
  const WalSegmentInfo info = scan_segment(wal.bytes());
  EXPECT_EQ(info.last_record, last);
  EXPECT_EQ(info.last_commit, postgres_time(kHour));
  EXPECT_EQ(info.end, kStart + kSize);
}

TEST(ScanSegment, DoesNotTakeARecycledSegmentsRestForRecords) {
  WalBuilder old(kStart - kSize);
  fill(old);
  WalBuilder wal(kStart);
  wal.transaction_end(kCommit, 2 * kHour);
  wal.filler(wal.payload_up_to(0));  // up to the end of the page: an old page follows at once
  const WalSegmentInfo expected = scan_segment(wal.bytes());
  Bytes recycled = old.bytes();
  std::copy_n(wal.bytes().begin(), wal.at(), recycled.begin());
  for (const Bytes& bytes : {wal.bytes(), recycled}) {
    const WalSegmentInfo info = scan_segment(bytes);
    EXPECT_EQ(info.end, wal.lsn());
    EXPECT_EQ(info.last_record, expected.last_record);
    EXPECT_EQ(info.last_commit, postgres_time(2 * kHour));
  }
}

// The old page even goes on with a record of the same length: only its address tells.
TEST(ScanSegment, KnowsAnOldPageByItsAddress) {
  WalBuilder old(kStart - kSize);
  WalBuilder wal(kStart);
  const Lsn complete = wal.filler(500);
  old.filler(500);
  const Lsn torn = wal.filler(10'000);
  old.filler(10'000);
  Bytes recycled = old.bytes();
  std::copy_n(wal.bytes().begin(), WalBuilder::kPageSize, recycled.begin());
  const WalSegmentInfo info = scan_segment(recycled);
  EXPECT_EQ(info.last_record, complete);
  EXPECT_EQ(info.end, torn);
}

TEST(ScanSegment, StopsWhereAPageContinuesAnotherRecord) {
  WalBuilder wal(kStart);
  const Lsn complete = wal.filler(500);
  wal.filler(10'000);
  wal.bytes()[WalBuilder::kPageSize + 16] ^= 8;  // xlp_rem_len
  EXPECT_EQ(scan_segment(wal.bytes()).last_record, complete);
}

TEST(ScanSegment, StopsAtAFirstRecordThatNamesOneAfterIt) {
  WalBuilder wal(kStart);
  wal.filler(100);
  wal.bytes()[40 + 10] = 0x30;  // xl_prev: past the segment's beginning
  const WalSegmentInfo info = scan_segment(wal.bytes());
  EXPECT_EQ(info.last_record, 0U);
  EXPECT_EQ(info.end, kStart + 40);
}

TEST(ScanSegment, LeavesOutARecordWhoseRestIsMissing) {
  WalBuilder wal(kStart);
  const Lsn complete = wal.filler(wal.payload_up_to(200));
  const Lsn torn = wal.filler(500);
  std::fill(wal.bytes().begin() + WalBuilder::kPageSize, wal.bytes().end(), std::uint8_t{0});
  const WalSegmentInfo info = scan_segment(wal.bytes());
  EXPECT_EQ(info.last_record, complete);
  EXPECT_EQ(info.end, torn);
}

TEST(ScanSegment, GoesOnWhereAServerOverwroteAnUnfinishedRecord) {
  WalBuilder wal(kStart);
  const Lsn complete = wal.filler(wal.payload_up_to(200));
  const Lsn torn = wal.filler(200 - 24);
  Bytes& bytes = wal.bytes();
  bytes[torn - kStart + 1] = 0x10;  // it was to be 4 KiB longer
  wal.overwrite_next_page(complete);
  wal.record(0, 0xD0, Bytes(16));
  const Lsn last = wal.transaction_end(kCommit, kHour);
  const WalSegmentInfo info = scan_segment(bytes);
  EXPECT_EQ(info.last_record, last);
  EXPECT_EQ(info.last_commit, postgres_time(kHour));
  EXPECT_EQ(info.end, wal.lsn());
}

TEST(ScanSegment, FollowsATimelineSwitchButNeverBack) {
  WalBuilder wal(kStart);
  wal.filler(10);
  wal.set_timeline(2);
  const Lsn last = wal.filler(10'000);
  const WalSegmentInfo info = scan_segment(wal.bytes());
  EXPECT_EQ(info.timeline, 1U);
  EXPECT_EQ(info.last_record, last);

  wal.set_timeline(1);
  wal.filler(10'000);
  EXPECT_EQ(scan_segment(wal.bytes()).end, info.end);
}

TEST(ScanSegment, StopsAtABrokenChain) {
  WalBuilder wal(kStart);
  const Lsn first = wal.filler(100);
  const Lsn second = wal.filler(100);
  wal.transaction_end(kCommit, kHour);
  wal.bytes()[second - kStart + 8] ^= 8;  // xl_prev
  const WalSegmentInfo info = scan_segment(wal.bytes());
  EXPECT_EQ(info.last_record, first);
  EXPECT_EQ(info.end, second);
  EXPECT_FALSE(info.last_commit);
}

TEST(ScanSegment, GivesNoTimeFromADamagedRecord) {
  WalBuilder wal(kStart);
  const Lsn commit = wal.transaction_end(kCommit, kHour);
  wal.filler(100);
  wal.bytes()[commit - kStart + 24 + 2 + 3] ^= 1;  // in the time
  const WalSegmentInfo info = scan_segment(wal.bytes());
  EXPECT_FALSE(info.last_commit);
  EXPECT_EQ(info.end, commit);
}

TEST(ScanSegment, NamesTheTransactionsThatEnded) {
  WalBuilder wal(kStart);
  wal.set_xid(731);
  wal.filler(50);
  const Lsn commit = wal.transaction_end(kCommit, kHour);
  wal.set_xid(733);
  wal.transaction_end(kPrepare, kHour);
  wal.set_xid(732);
  const Lsn abort = wal.transaction_end(kAbort, kHour, 100);
  wal.filler(wal.payload_up_to(40));  // the next one reaches into the next page
  const Lsn prepared = wal.commit_prepared(730, kHour);
  const WalSegmentInfo info = scan_segment(wal.bytes());
  ASSERT_EQ(info.ends.size(), 3U);
  EXPECT_EQ(std::pair(info.ends[0].xid, info.ends[0].lsn), std::pair(731U, commit));
  EXPECT_EQ(std::pair(info.ends[1].xid, info.ends[1].lsn), std::pair(732U, abort));
  EXPECT_EQ(std::pair(info.ends[2].xid, info.ends[2].lsn), std::pair(730U, prepared));
  EXPECT_FALSE(info.marks_missing);
}

TEST(ScanSegment, FindsRestorePoints) {
  for (const std::size_t before : {500U, 40U, 24U, 16U, 8U}) {  // the end of a page
    WalBuilder wal(kStart);
    wal.filler(wal.payload_up_to(before));
    const Lsn lsn = wal.restore_point("before the mess", kHour);
    const WalSegmentInfo info = scan_segment(wal.bytes());
    ASSERT_EQ(info.restore_points.size(), 1U) << before;
    EXPECT_EQ(info.restore_points[0].name, "before the mess");
    EXPECT_EQ(info.restore_points[0].time, postgres_time(kHour));
    EXPECT_EQ(info.restore_points[0].lsn, lsn);
    EXPECT_EQ(info.last_commit, std::nullopt);
  }
}

// Writes `last`, which takes a WalBuilder, so that `inside` of its bytes are in the first of two
// segments, and scans both.
template <typename Last>
std::pair<WalSegmentInfo, WalSegmentInfo> scan_over_the_end(std::size_t inside, Last&& last) {
  WalBuilder alone(kStart);
  last(alone);
  const std::uint32_t size = alone.bytes()[40] | std::uint32_t{alone.bytes()[41]} << 8;
  const ByteView record = ByteView{alone.bytes()}.subspan(40, size);

  WalBuilder first(kStart);
  while (first.at() < kSize - WalBuilder::kPageSize) first.filler(first.payload_up_to(0));
  first.filler(WalBuilder::kPageSize - 24 - 24 - inside);
  EXPECT_EQ(last(first), kStart + kSize - inside);
  const ByteView rest = record.subspan(inside);
  WalBuilder second(kStart + kSize, kSize, static_cast<std::uint32_t>(rest.size()), rest);
  second.filler(100);
  Bytes whole = second.bytes();
  return {scan_segment(first.bytes()), scan_segment(whole)};
}

TEST(ScanSegment, FindsAllMarksOverTheSegmentsEnd) {
  for (const std::size_t inside : {8U, 16U, 24U, 32U, 40U, 64U}) {
    SCOPED_TRACE(inside);
    const Lsn lsn = kStart + kSize - inside;

    const auto commit = scan_over_the_end(inside, [](WalBuilder& wal) {
      wal.set_xid(777);
      return wal.transaction_end(kCommit, kHour, 100);
    });
    ASSERT_EQ(commit.first.ends.size(), 1U);
    EXPECT_EQ(commit.first.ends[0].xid, 777U);
    EXPECT_EQ(commit.first.ends[0].lsn, lsn);
    EXPECT_EQ(commit.first.ends[0].certain, inside >= 24);
    EXPECT_TRUE(commit.second.ends.empty());

    const auto prepared =
        scan_over_the_end(inside, [](WalBuilder& wal) { return wal.commit_prepared(778, kHour); });
    EXPECT_EQ(prepared.first.marks_missing, inside >= 24);
    ASSERT_EQ(prepared.second.ends.size(), inside >= 24 ? 0U : 1U);
    if (inside < 24) {
      EXPECT_EQ(prepared.second.ends[0].xid, 778U);
    }

    const auto point =
        scan_over_the_end(inside, [](WalBuilder& wal) { return wal.restore_point("x", kHour); });
    EXPECT_EQ(point.first.marks_missing, inside == 24 || inside == 32);
    ASSERT_EQ(point.second.restore_points.size(), inside < 24 ? 1U : 0U);
    ASSERT_EQ(point.first.restore_points.size(), inside > 32 ? 1U : 0U);
    if (inside < 24) {
      EXPECT_EQ(point.second.restore_points[0].lsn, lsn);
    }
    if (inside > 32) {
      EXPECT_EQ(point.first.restore_points[0].lsn, lsn);
    }
  }
}

TEST(ScanSegment, TakesNoMarksFromTheRestOfAnotherRecord) {
  for (const std::uint32_t size : {10U, 82U, 90U, 5000U}) {
    WalBuilder wal(kStart, kSize, size);
    const WalSegmentInfo info = scan_segment(wal.bytes());
    EXPECT_TRUE(info.ends.empty() && info.restore_points.empty() && !info.marks_missing) << size;
  }
}

TEST(ScanSegment, TakesTheFrontOfASegment) {
  WalBuilder wal(kStart);
  fill(wal);
  const ByteView all = wal.bytes();
  for (const std::size_t size :
       {40U, 41U, 47U, 48U, 63U, 64U, 8191U, 8192U, 8193U, 8216U, 8231U, 8232U, 8240U, 100'001U}) {
    const WalSegmentInfo info = scan_segment(all.first(size));
    EXPECT_LE(info.last_record, kStart + size) << size;
    EXPECT_LE(info.end, kStart + size + 8) << size;
  }
}

// Whatever the bytes, it ends, stays inside (the sanitizers watch), and what it says is in the
// segment.
TEST(ScanSegment, IsSafeOnAnyBytes) {
  WalBuilder wal(kStart);
  fill(wal);
  constexpr std::size_t kFront = 5 * WalBuilder::kPageSize + 100;
  const Bytes original(wal.bytes().begin(), wal.bytes().begin() + kFront);
  std::mt19937 random(20240117);
  const auto below = [&random](std::size_t limit) { return random() % limit; };
  int refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    Bytes bytes = original;
    for (std::size_t i = 0, count = 1 + below(8); i < count; ++i) {
      // Mostly where the structures are: the fronts of pages, and lengths.
      const std::size_t page = below(6) * WalBuilder::kPageSize;
      const std::size_t at = below(2) == 0 ? page + below(64) : below(bytes.size());
      bytes[at] = below(3) == 0 ? 0xFF : static_cast<std::uint8_t>(random());
    }
    bytes.resize(bytes.size() - below(3) * below(9000));
    bytes.shrink_to_fit();
    try {
      const WalSegmentInfo info = scan_segment(bytes);
      EXPECT_LE(info.end - info.start, info.segment_size);
      EXPECT_TRUE(info.last_record == 0 || info.last_record - info.start < info.segment_size);
      EXPECT_EQ(info.first_commit.has_value(), info.last_commit.has_value());
      EXPECT_LE(info.first_commit, info.last_commit);
    } catch (const base::Error& error) {
      EXPECT_EQ(error.kind(), base::ErrorKind::kFailed);
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
  EXPECT_LT(refused, 19'000);
}

}  // namespace
}  // namespace holdfast::postgres
