// Plans over an archive in memory: which backup, which timeline, which WAL.
#include "postgres/restore_plan.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <functional>

#include "postgres/recovery_window.h"
#include "postgres/segment_section.h"
#include "postgres/wal_builder.h"
#include "postgres/wal_marks.h"
#include "repository/fixture.h"

namespace holdfast::postgres {
namespace {

using repository::error_of;
using testing::Contains;
using testing::HasSubstr;
using testing::Pair;
using Kind = RestoreTarget::Kind;

constexpr std::uint64_t kSystem = 7'000'000'000'000'000'001;
constexpr std::uint32_t kSize = 1 << 20;

base::Time at(const std::string& time) { return *base::parse_time("2024-01-17 " + time, {}); }

class RestorePlanTest : public testing::Test {
 protected:
  // A segment that was written until `time`, with one transaction at that time unless it is
  // `quiet`.
  void segment(std::uint32_t timeline, std::uint64_t number, const std::string& time,
               bool quiet = false) {
    WalSegmentInfo info;
    info.system_id = kSystem;
    info.timeline = timeline;
    info.start = segment_start(number, kSize);
    info.segment_size = kSize;
    info.last_record = info.start + 0x100;
    if (!quiet) info.first_commit = info.last_commit = at(time);
    const std::string name = format_segment_name({timeline, number}, kSize);
    repository::put_log(repository_.context(), wal_object_name(kSystem, name), base::as_bytes(name),
                        {encode_segment_section(info, at(time))}, 1);
  }

  // A segment with what `fill` writes into it.
  void real_segment(std::uint32_t timeline, std::uint64_t number, const std::string& time,
                    const std::function<void(WalBuilder&)>& fill) {
    WalBuilder wal(segment_start(number, kSize), kSize);
    fill(wal);
    wal.record(0, 0x40, {});  // a switch
    const WalSegmentInfo info = scan_segment(wal.bytes());
    const std::string name = format_segment_name({timeline, number}, kSize);
    std::vector<repository::LogSection> sections = {encode_segment_section(info, at(time))};
    if (auto marks = encode_marks(marks_of(info))) sections.push_back(std::move(*marks));
    repository::put_log(repository_.context(), wal_object_name(kSystem, name), wal.bytes(),
                        std::move(sections), 1);
  }

  void history(std::uint32_t timeline, const std::string& text) {
    repository::put_inline_log(repository_.context(),
                               wal_object_name(kSystem, history_file_name(timeline)),
                               base::as_bytes(text), {});
  }

  // A backup whose WAL is in one segment.
  std::string backup(std::uint32_t timeline, std::uint64_t number, const std::string& time) {
    BackupDetails details;
    details.version_num = 150018;
    details.version = "15.18";
    details.system_id = kSystem;
    details.timeline = timeline;
    details.start_lsn = segment_start(number, kSize) + 0x28;
    details.stop_lsn = segment_start(number, kSize) + 0x80;
    details.stop_time = at(time);
    details.wal_segment_size = kSize;
    repository::BackupRecord record;
    record.summary.id = repository::make_backup_id("database", at(time));
    record.summary.component = "database";
    record.summary.type = "postgresql";
    record.summary.kind = "full";
    record.summary.started = record.summary.finished = at(time);
    record.summary.details_key = "postgresql";
    record.summary.details_json = details_to_json(details);
    repository::put_record(repository_.context(), record);
    return record.summary.id;
  }

  void remove(std::uint32_t timeline, std::uint64_t number) {
    const std::string name = format_segment_name({timeline, number}, kSize);
    ASSERT_TRUE(repository_.storage->remove(wal_object_name(kSystem, name)));
  }

  RestorePlan plan(const RestoreTarget& target) {
    return plan_restore(repository_.context(), "database", target);
  }
  RestorePlan plan_at(const std::string& time) {
    return plan({.kind = Kind::kTime, .time = at(time)});
  }

  repository::TestRepository repository_;
};

// Two backups on one timeline: segments 2 to 6, one an hour.
class OneTimeline : public RestorePlanTest {
 protected:
  OneTimeline() {
    for (std::uint64_t n = 2; n <= 6; ++n) segment(1, n, fmt::format("{:02}:00:00", 8 + n));
    first_ = backup(1, 2, "09:30:00");
    second_ = backup(1, 4, "11:30:00");
  }
  std::string first_;
  std::string second_;
};

TEST_F(OneTimeline, TakesTheLastBackupBeforeTheTime) {
  EXPECT_EQ(plan_at("11:29:59").record.summary.id, first_);
  EXPECT_EQ(plan_at("11:30:00").record.summary.id, second_);
  EXPECT_THAT(plan_at("12:15:00").settings,
              Contains(Pair("recovery_target_time", "2024-01-17 12:15:00+00")));
}

TEST_F(OneTimeline, EndsAtTheLastTransactionAndBeginsAtTheFirstBackup) {
  for (const char* outside : {"09:29:59", "14:00:01"}) {
    const base::Error error = error_of([&] { plan_at(outside); });
    EXPECT_EQ(error.kind(), base::ErrorKind::kNotFound);
    EXPECT_THAT(error.what(), HasSubstr("2024-01-17T09:30:00Z to 2024-01-17T14:00:00Z"));
  }
}

// The server fails where no transaction follows the time; the last record is the target then.
TEST_F(OneTimeline, AimsAtTheLastRecordBehindTheLastTransaction) {
  segment(1, 7, "15:00:00", /*quiet=*/true);
  EXPECT_THAT(plan_at("14:30:00").settings,
              Contains(Pair("recovery_target_lsn", format_lsn(segment_start(7, kSize) + 0x100))));
}

TEST_F(OneTimeline, NamesEverySegmentThatIsMissing) {
  remove(1, 5);
  const base::Error error = error_of([&] { plan({.kind = Kind::kEndOfWal}); });
  EXPECT_EQ(error.kind(), base::ErrorKind::kDamaged);
  EXPECT_THAT(error.what(), HasSubstr(format_segment_name({1, 5}, kSize)));
  EXPECT_EQ(error_of([&] { plan_at("13:30:00"); }).kind(), base::ErrorKind::kDamaged);
  EXPECT_EQ(plan_at("11:45:00").record.summary.id, second_);  // before the gap
}

TEST_F(OneTimeline, NeedsTheWalOfTheBackupItself) {
  remove(1, 4);
  const base::Error error =
      error_of([&] { plan({.kind = Kind::kEndOfBackup, .backup = second_}); });
  EXPECT_EQ(error.kind(), base::ErrorKind::kDamaged);
  EXPECT_THAT(error.what(), HasSubstr(format_segment_name({1, 4}, kSize)));
  EXPECT_EQ(plan({.kind = Kind::kEndOfBackup, .backup = first_}).record.summary.id, first_);
}

TEST_F(OneTimeline, RefusesATargetBeforeTheEndOfTheNamedBackup) {
  const RestoreTarget target = {.kind = Kind::kTime, .time = at("10:00:00"), .backup = second_};
  EXPECT_EQ(error_of([&] { plan(target); }).kind(), base::ErrorKind::kUsage);
}

TEST_F(OneTimeline, FindsAWalPositionInTheWindowAlone) {
  const Lsn inside = segment_start(5, kSize) + 8;
  const RestorePlan found = plan({.kind = Kind::kLsn, .lsn = inside});
  EXPECT_EQ(found.record.summary.id, second_);
  EXPECT_THAT(found.settings, Contains(Pair("recovery_target_lsn", format_lsn(inside))));
  const auto behind = [&] { plan({.kind = Kind::kLsn, .lsn = segment_start(9, kSize)}); };
  EXPECT_EQ(error_of(behind).kind(), base::ErrorKind::kNotFound);
}

// Two backups, and transactions and restore points before, during and behind the second one, whose
// stop is 0x80 behind the beginning of segment 4.
class Marks : public RestorePlanTest {
 protected:
  Marks() {
    segment(1, 2, "10:00:00");
    real_segment(1, 3, "11:00:00", [](WalBuilder& wal) { write(wal, 1003, "early"); });
    real_segment(1, 4, "12:00:00", [](WalBuilder& wal) {
      write(wal, 1004, "during");
      wal.filler(100);
      write(wal, 1005, "late");
    });
    real_segment(1, 5, "13:00:00", [](WalBuilder& wal) { write(wal, 1006, "early"); });
    first_ = backup(1, 2, "09:30:00");
    second_ = backup(1, 4, "11:30:00");
  }

  static void write(WalBuilder& wal, std::uint32_t xid, const char* name) {
    wal.set_xid(xid);
    wal.transaction_end(0, 0);
    wal.restore_point(name, 0);
  }

  RestorePlan plan_xid(const std::string& xid, std::optional<std::string> from = {}) {
    return plan({.kind = Kind::kXid, .text = xid, .backup = std::move(from)});
  }
  RestorePlan plan_name(const std::string& name, std::optional<std::string> from = {}) {
    return plan({.kind = Kind::kName, .text = name, .backup = std::move(from)});
  }

  std::string first_;
  std::string second_;
};

TEST_F(Marks, TakeTheLastBackupBeforeThem) {
  EXPECT_EQ(plan_xid("1003").record.summary.id, first_);
  EXPECT_EQ(plan_xid("1004").record.summary.id, first_);  // it ended while the second one ran
  EXPECT_EQ(plan_xid("1005").record.summary.id, second_);
  EXPECT_EQ(plan_xid("1006").record.summary.id, second_);
  EXPECT_EQ(plan_name("during").record.summary.id, first_);
  EXPECT_EQ(plan_name("late").record.summary.id, second_);
  EXPECT_EQ(plan_name("early").record.summary.id, second_);  // two have the name: the newer one
  EXPECT_THAT(plan_xid("1005").settings, Contains(Pair("recovery_target_xid", "1005")));
  EXPECT_THAT(plan_name("late").settings, Contains(Pair("recovery_target_name", "late")));
}

TEST_F(Marks, AreFoundFromABackupThatIsNamed) {
  EXPECT_EQ(plan_xid("1006", first_).record.summary.id, first_);
  for (const char* before : {"1003", "1004"}) {
    const base::Error error = error_of([&] { plan_xid(before, second_); });
    EXPECT_EQ(error.kind(), base::ErrorKind::kUsage);
    EXPECT_THAT(error.what(), HasSubstr(second_));
  }
  EXPECT_EQ(error_of([&] { plan_name("during", second_); }).kind(), base::ErrorKind::kUsage);
}

TEST_F(Marks, ThatAreNowhereAreNotFound) {
  for (const auto& from :
       {std::optional<std::string>{}, std::optional(first_), std::optional(second_)}) {
    const base::Error xid = error_of([&] { plan_xid("2000", from); });
    EXPECT_EQ(xid.kind(), base::ErrorKind::kNotFound);
    EXPECT_THAT(xid.what(), HasSubstr("transaction 2000"));
    EXPECT_THAT(xid.what(), HasSubstr("2024-01-17T09:30:00Z to 2024-01-17T13:00:00Z"));
    EXPECT_EQ(error_of([&] { plan_name("nowhere", from); }).kind(), base::ErrorKind::kNotFound);
  }
}

TEST_F(Marks, MayStandInWalThatIsMissing) {
  remove(1, 3);
  EXPECT_EQ(error_of([&] { plan_xid("1003"); }).kind(), base::ErrorKind::kDamaged);
  EXPECT_EQ(plan_xid("1005").record.summary.id, second_);
}

TEST_F(Marks, AreLeftToTheServerWhereASegmentCannotBeFollowed) {
  real_segment(1, 6, "14:00:00", [](WalBuilder& wal) {
    write(wal, 1007, "behind");
    wal.set_timeline(9);  // nothing continues this page
    while (wal.at() < kSize - 100) wal.filler(8000);
    wal.bytes()[2 * WalBuilder::kPageSize] ^= 1;
  });
  EXPECT_EQ(plan_xid("1007").notes.size(), 0U);
  const RestorePlan found = plan_xid("2000");
  EXPECT_EQ(found.record.summary.id, second_);
  EXPECT_EQ(found.notes.size(), 1U);
}

// Timeline 2 branched off in segment 5; timeline 1 went on with segment 6.
class TwoTimelines : public OneTimeline {
 protected:
  TwoTimelines() {
    history(2, fmt::format("1\t{}\tno recovery target specified\n",
                           format_lsn(segment_start(5, kSize) + 0x1000)));
    for (std::uint64_t n = 5; n <= 7; ++n) segment(2, n, fmt::format("{:02}:30:00", 8 + n));
  }
};

TEST_F(TwoTimelines, FollowsTheLatestByDefault) {
  const RestorePlan found = plan({.kind = Kind::kEndOfWal});
  EXPECT_EQ(found.target_timeline, 2U);
  EXPECT_EQ(found.history_files, std::vector<std::string>{"00000002.history"});
  EXPECT_THAT(found.settings, Contains(Pair("recovery_target_timeline", "2")));
}

TEST_F(TwoTimelines, StaysOnTheOldOneIfAsked) {
  EXPECT_EQ(plan({.kind = Kind::kEndOfWal, .timeline = "current"}).target_timeline, 1U);
  EXPECT_EQ(plan({.kind = Kind::kEndOfWal, .timeline = "1"}).target_timeline, 1U);
  EXPECT_EQ(error_of([&] { plan({.kind = Kind::kEndOfWal, .timeline = "3"}); }).kind(),
            base::ErrorKind::kNotFound);
}

TEST_F(TwoTimelines, ABackupBehindTheBranchStaysOnItsOwnTimeline) {
  const std::string third = backup(1, 6, "13:45:00");
  const RestorePlan found = plan({.kind = Kind::kEndOfWal});
  EXPECT_EQ(found.record.summary.id, third);
  EXPECT_EQ(found.target_timeline, 1U);
  EXPECT_EQ(plan({.kind = Kind::kEndOfWal, .timeline = "2"}).record.summary.id, second_);
}

TEST_F(OneTimeline, TheWindowIsWhatCanBeRestored) {
  const auto window = [&] {
    return recovery_window(repository_.context(),
                           repository::list_backups(repository_.context(), "database").backups);
  };
  EXPECT_TRUE(window().continuous);
  EXPECT_EQ(describe(window()), "2024-01-17T09:30:00Z to 2024-01-17T14:00:00Z");
  remove(1, 3);  // between the two backups
  EXPECT_EQ(describe(window()), "2024-01-17T11:30:00Z to 2024-01-17T14:00:00Z");
  remove(1, 4);  // of the newest backup itself
  EXPECT_FALSE(window().continuous);
}

}  // namespace
}  // namespace holdfast::postgres
