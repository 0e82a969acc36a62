// WAL that may go: what every backup needs and what the window needs stays, and hardly more.
#include "postgres/wal_retention.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <random>

#include "postgres/restore_plan.h"
#include "postgres/segment_section.h"
#include "repository/fixture.h"
#include "storage/clocked_storage.h"

namespace holdfast::postgres {
namespace {

using std::chrono::hours;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t kSystem = 7'000'000'000'000'000'001;
constexpr std::uint32_t kSize = 1 << 20;
const base::Time kStart = *base::parse_time("2024-01-01T00:00:00Z", {});

class WalRetentionTest : public testing::Test {
 protected:
  repository::Context context() { return repository_.context_of(clocked_); }

  // A segment that is archived at the clock's time, with a transaction then.
  void segment(std::uint32_t timeline, std::uint64_t number, std::uint64_t system = kSystem) {
    WalSegmentInfo info;
    info.system_id = system;
    info.timeline = timeline;
    info.start = segment_start(number, kSize);
    info.segment_size = kSize;
    info.last_record = info.start + 0x100;
    info.first_commit = info.last_commit = clocked_.now();
    const std::string name = format_segment_name({timeline, number}, kSize);
    repository::put_log(context(), wal_object_name(system, name), base::as_bytes(name),
                        {encode_segment_section(info, clocked_.now())}, 1);
  }

  void history(std::uint32_t timeline, const std::string& text) {
    repository::put_inline_log(context(), wal_object_name(kSystem, history_file_name(timeline)),
                               base::as_bytes(text), {});
  }

  // A backup that begins and ends in one segment, now.
  void backup(std::uint32_t timeline, std::uint64_t number, std::uint64_t system = kSystem) {
    BackupDetails details;
    details.version_num = 150018;
    details.version = "15.18";
    details.system_id = system;
    details.timeline = timeline;
    details.start_lsn = segment_start(number, kSize) + 0x28;
    details.stop_lsn = segment_start(number, kSize) + 0x80;
    details.stop_time = clocked_.now();
    details.wal_segment_size = kSize;
    repository::BackupRecord record;
    record.summary.started = record.summary.finished = clocked_.now();
    record.summary.id = repository::make_backup_id("database", clocked_.now());
    record.summary.component = "database";
    record.summary.type = "postgresql";
    record.summary.kind = "full";
    record.summary.details_key = "postgresql";
    record.summary.details_json = details_to_json(details);
    repository::put_record(context(), record);
    kept_.push_back({record.summary, clocked_.now()});
  }

  // Segments first to last, one an hour.
  void hourly(std::uint32_t timeline, std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t number = first; number <= last; ++number) {
      clocked_.pass(hours(1));
      segment(timeline, number);
    }
  }

  std::vector<std::string> removed(std::optional<base::Duration> keep, bool other_systems = false) {
    std::vector<std::string> files;
    const WalRetention retention{kept_, keep, clocked_.now(), oldest_run_, other_systems};
    for (const std::string& object : wal_to_remove(context(), retention).objects) {
      files.push_back(object.substr(object.rfind('/') + 1));
    }
    return files;
  }
  static std::string name(std::uint32_t timeline, std::uint64_t number) {
    return format_segment_name({timeline, number}, kSize);
  }

  repository::TestRepository repository_;
  storage::ClockedStorage clocked_{*repository_.storage, kStart};
  std::vector<WalRetention::Backup> kept_;
  std::optional<base::Time> oldest_run_;
};

TEST_F(WalRetentionTest, TheWindowReachesBackToABaseBeforeIt) {
  hourly(1, 1, 4);
  backup(1, 4);  // ends just behind segment 4
  hourly(1, 5, 8);
  backup(1, 8);
  hourly(1, 9, 12);
  // Now it is about 12:00.
  EXPECT_THAT(removed(hours(5)), ElementsAre(name(1, 1), name(1, 2), name(1, 3)));
  EXPECT_THAT(removed(hours(3)),
              ElementsAre(name(1, 1), name(1, 2), name(1, 3), name(1, 5), name(1, 6), name(1, 7)));
  EXPECT_THAT(removed(hours(0)),
              ElementsAre(name(1, 1), name(1, 2), name(1, 3), name(1, 5), name(1, 6), name(1, 7)));
  // Segment 1 is younger than that, though no backup can use it.
  EXPECT_THAT(removed(hours(12)), IsEmpty());
  // Nothing was said: as long as a backup can use it.
  EXPECT_THAT(removed(std::nullopt), ElementsAre(name(1, 1), name(1, 2), name(1, 3)));
}

TEST_F(WalRetentionTest, ABackupInUseAsBaseIsTheOneOnThePath) {
  hourly(1, 1, 2);
  backup(1, 2);
  hourly(1, 3, 5);
  // Somebody goes back to the middle of segment 3; what came behind it on timeline 1 is left.
  history(2, fmt::format("1\t{}\tbefore 2024\n", format_lsn(segment_start(3, kSize) + 0x800)));
  clocked_.pass(hours(1));
  backup(1, 5);  // of the old branch
  hourly(2, 3, 20);
  // The window needs timeline 2, which can only begin from the first backup.
  EXPECT_THAT(removed(hours(2)), ElementsAre(name(1, 1), name(1, 4)));
}

TEST_F(WalRetentionTest, HistoriesAndWhatIsNotUnderstoodStay) {
  hourly(1, 1, 5);
  backup(1, 5);
  history(2, fmt::format("1\t{}\tx\n", format_lsn(segment_start(9, kSize))));
  clocked_.put(fmt::format("wal/{}/00000001/strange", kSystem), {});
  clocked_.pass(hours(100));
  for (const std::string& file : removed(hours(1))) {
    EXPECT_EQ(file.size(), 24u) << file;
  }
  EXPECT_EQ(removed(hours(1)).size(), 4u);
}

TEST_F(WalRetentionTest, BackupHistoriesAndPartialSegmentsGoWithTheirSegment) {
  hourly(1, 1, 5);
  repository::put_inline_log(context(), wal_object_name(kSystem, name(1, 2) + ".00000028.backup"),
                             base::as_bytes("x"), {});
  repository::put_inline_log(context(), wal_object_name(kSystem, name(1, 5) + ".00000028.backup"),
                             base::as_bytes("x"), {});
  backup(1, 5);
  clocked_.pass(hours(100));
  EXPECT_THAT(
      removed(hours(1)),
      ElementsAre(name(1, 1), name(1, 2), name(1, 2) + ".00000028.backup", name(1, 3), name(1, 4)));
}

TEST_F(WalRetentionTest, AnotherSystemsWalGoesWhenItIsOldAndMay) {
  segment(1, 1, 42);
  hourly(1, 1, 1);
  backup(1, 1);
  clocked_.pass(hours(100));
  segment(1, 2, 42);
  EXPECT_THAT(removed(hours(10), false), IsEmpty());
  EXPECT_THAT(removed(hours(10), true), ElementsAre(name(1, 1)));
  EXPECT_THAT(removed(std::nullopt, true), IsEmpty());
  backup(1, 1, 42);
  EXPECT_THAT(removed(hours(10), true), IsEmpty());
}

// The first backup of a new system takes longer than WAL is kept.
TEST_F(WalRetentionTest, WhatARunAtWorkMayNeedStays) {
  hourly(1, 1, 3);
  backup(1, 3);
  segment(1, 1, 42);
  clocked_.pass(hours(1));
  oldest_run_ = clocked_.now();
  segment(1, 2, 42);
  clocked_.pass(hours(100));
  EXPECT_THAT(removed(hours(1), true),
              testing::UnorderedElementsAre(name(1, 1), name(1, 2), name(1, 1)));
  oldest_run_.reset();
  EXPECT_THAT(removed(hours(1), true),
              testing::UnorderedElementsAre(name(1, 1), name(1, 2), name(1, 1), name(1, 2)));
}

TEST_F(WalRetentionTest, ADamagedHistoryKeepsEverything) {
  hourly(1, 1, 5);
  backup(1, 5);
  clocked_.put(wal_object_name(kSystem, history_file_name(2)), base::as_bytes("damaged"));
  clocked_.pass(hours(100));
  EXPECT_THAT(removed(hours(1)), IsEmpty());
}

// Whatever happened: what could be restored within the window, and the end of each backup, still
// can be.
TEST_F(WalRetentionTest, NothingIsLostOverRandomHistories) {
  std::mt19937 generator(11);
  const auto roll = [&](std::uint32_t sides) { return generator() % sides; };
  std::uint32_t timeline = 1;
  std::uint64_t number = 1;
  std::string lines;
  segment(1, 1);
  backup(1, 1);
  std::size_t removals = 0;
  for (int round = 0; round < 120; ++round) {
    clocked_.pass(hours(1));
    segment(timeline, ++number);
    if (roll(4) == 0) {
      clocked_.pass(std::chrono::minutes(5));
      backup(timeline, number);
    }
    if (roll(15) == 0 && number > 3) {
      number -= roll(3);
      lines +=
          fmt::format("{}\t{}\tx\n", timeline, format_lsn(segment_start(number, kSize) + 0x800));
      history(++timeline, lines);
      segment(timeline, number);
    }
    // Old backups go now and then.
    while (kept_.size() > 6) {
      const auto gone = kept_.begin() + roll(5);
      clocked_.remove(repository::record_name(gone->summary.id));
      kept_.erase(gone);
    }
    if (roll(3) != 0) continue;

    const base::Duration keep = hours(roll(40));
    std::vector<std::function<void()>> plans;
    const auto must_stay_possible = [&](const RestoreTarget& target) {
      try {
        plan_restore(context(), "database", target);
      } catch (const base::Error&) {
        return;
      }
      plans.push_back([this, target] { plan_restore(context(), "database", target); });
    };
    for (base::Time t = clocked_.now() - keep; t <= clocked_.now(); t += hours(1)) {
      must_stay_possible({.kind = RestoreTarget::Kind::kTime, .time = t});
    }
    for (const auto& kept : kept_) {
      must_stay_possible({.kind = RestoreTarget::Kind::kEndOfBackup, .backup = kept.summary.id});
    }
    ASSERT_GE(plans.size(), kept_.size());
    const WalRemoval removal = wal_to_remove(context(), {kept_, keep, clocked_.now(), {}, true});
    for (const std::string& object : removal.objects) ASSERT_TRUE(clocked_.remove(object));
    removals += removal.objects.size();
    for (const auto& plan : plans) ASSERT_NO_THROW(plan()) << round;
  }
  EXPECT_GT(removals, 40u);
}

}  // namespace
}  // namespace holdfast::postgres
