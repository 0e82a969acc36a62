#include "stack/pruning.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "postgres/backup_details.h"
#include "postgres/segment_section.h"
#include "repository/sample_backup.h"
#include "storage/clocked_storage.h"
#include "storage/damage.h"

namespace holdfast::stack {
namespace {

using std::chrono::hours;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr base::Duration kDay = hours(24);
constexpr std::uint32_t kSegmentSize = 1 << 20;

class HostClock final : public base::Clock {
 public:
  explicit HostClock(base::Time now) : now_(now) {}
  base::Time now() const override { return now_; }
  void set(base::Time now) { now_ = now; }

 private:
  base::Time now_;
};

class PruningTest : public testing::Test {
 protected:
  PruningTest() {
    JobConfig daily;
    daily.name = "daily";
    daily.backup = {"database"};
    daily.keep = 3 * kDay;
    config_.jobs = {daily};
  }

  repository::Context context() {
    return {clocked_, repository_.keyring, host_, repository_.random, 3};
  }

  void pass(base::Duration time) {
    clocked_.pass(time);
    host_.set(clocked_.now());
  }

  // A backup of PostgreSQL of the job daily, with its WAL in segment `number`.
  std::string take(std::uint32_t number, std::uint64_t system = 1, bool good = true) {
    segment(number, system);
    repository::BackupRecord record;
    repository::BackupSummary& summary = record.summary;
    summary.started = summary.finished = host_.now();
    summary.id = repository::make_backup_id("database", summary.started);
    summary.component = "database";
    summary.type = "postgresql";
    summary.kind = "full";
    summary.job = "daily";
    postgres::BackupDetails details;
    details.version = "15";
    details.version_num = 150000;
    details.system_id = system;
    details.timeline = 1;
    details.start_lsn = postgres::segment_start(number, kSegmentSize) + 0x28;
    details.stop_lsn = details.start_lsn + 0x100;
    details.stop_time = host_.now();
    details.wal_segment_size = kSegmentSize;
    if (!good) details.bad_pages = {"base/1/2 block 3"};
    summary.details_key = "postgresql";
    summary.details_json = postgres::details_to_json(details);
    repository::StoreRun run(context());
    const std::vector<repository::FileEntry> entries = {repository::store_sample_file(
        "data", repository::random_bytes(50'000, number), *run.writer)};
    record.file_table = repository::store_file_table(entries, *run.writer);
    record.indexes = run.finish();
    repository::put_record(context(), record);
    return summary.id;
  }

  void segment(std::uint32_t number, std::uint64_t system = 1) {
    postgres::WalSegmentInfo info;
    info.system_id = system;
    info.timeline = 1;
    info.start = postgres::segment_start(number, kSegmentSize);
    info.segment_size = kSegmentSize;
    info.first_commit = info.last_commit = host_.now();
    const std::string name = postgres::format_segment_name({1, number}, kSegmentSize);
    repository::put_log(context(), postgres::wal_object_name(system, name), base::as_bytes(name),
                        {postgres::encode_segment_section(info, host_.now())}, 1);
  }

  Pruning prune(bool dry_run = false) {
    base::NoProgress progress;
    return prune_repository(context(), config_, {.dry_run = dry_run, .grace = {}}, progress, {});
  }

  std::vector<std::string> backups() {
    std::vector<std::string> ids;
    for (const auto& backup : repository::list_backups(context()).backups) ids.push_back(backup.id);
    return ids;
  }
  std::size_t count(std::string_view prefix) {
    return storage::names_in(*repository_.storage, prefix).size();
  }

  repository::TestRepository repository_;
  storage::ClockedStorage clocked_{*repository_.storage, repository::StoppedClock().now()};
  HostClock host_{clocked_.now()};
  Config config_;
};

TEST_F(PruningTest, AJobCountsWhereItWritesAndNotWhereItsBackupsWereCopiedTo) {
  for (std::uint32_t day = 0; day < 6; ++day) {
    take(day + 1);
    pass(kDay);
  }
  config_.repositories.resize(2);
  config_.repositories[0].name = "main";
  config_.repositories[1].name = "copies";
  const auto removed_from = [&](std::string repository) {
    base::NoProgress progress;
    return prune_repository(context(), config_, {.grace = {}, .repository = std::move(repository)},
                            progress, {})
        .report.backups_removed;
  };
  EXPECT_EQ(removed_from("copies"), 0u);
  config_.jobs.front().repositories = {"copies"};
  EXPECT_EQ(removed_from("main"), 0u);
  EXPECT_EQ(removed_from("copies"), 4u);
}

TEST_F(PruningTest, RemovesWhatHasExpiredWithItsWalAndItsPacks) {
  for (std::uint32_t day = 0; day < 6; ++day) {
    take(day + 1);
    pass(kDay);
  }
  config_.wal.keep = kDay;
  const std::size_t packs = count("packs/");
  const std::vector<std::string> before = storage::names_in(*repository_.storage);

  const Pruning plan = prune(true);
  EXPECT_EQ(storage::names_in(*repository_.storage), before);
  const Pruning done = prune();
  EXPECT_EQ(plan.report.backups_removed, 4u);  // the one that is three days old is the fourth
  EXPECT_EQ(done.report.backups_removed, 4u);
  EXPECT_EQ(plan.logs, done.logs);
  EXPECT_EQ(done.logs.size(), 4u);
  EXPECT_EQ(backups().size(), 2u);
  EXPECT_EQ(count("wal/"), 2u);
  EXPECT_EQ(count("packs/"), packs / 3);
  EXPECT_THAT(done.report.problems, IsEmpty());

  ASSERT_TRUE(done.windows.contains("database"));
  EXPECT_EQ(plan.windows.at("database").from, done.windows.at("database").from);
  const auto component = find_component(done.backups.back().backup.summary);
  const auto window =
      component->recovery_window(context(), repository::list_backups(context()).backups);
  EXPECT_EQ(window.from, done.windows.at("database").from);
  EXPECT_EQ(window.to, done.windows.at("database").to);
  EXPECT_EQ(prune().report.backups_removed, 0u);
}

TEST_F(PruningTest, AHostsClockThatIsADayAheadRemovesNothingEarly) {
  const std::string old = take(1);
  pass(kDay);
  take(2);
  pass(2 * kDay - hours(1));
  host_.set(clocked_.now() + kDay);
  EXPECT_EQ(prune().report.backups_removed, 0u);
  host_.set(clocked_.now() + hours(2));  // the storage's clock says not yet
  EXPECT_EQ(prune().report.backups_removed, 0u);
  pass(hours(2));
  host_.set(clocked_.now() - kDay);  // behind: later
  EXPECT_EQ(prune().report.backups_removed, 0u);
  host_.set(clocked_.now());
  EXPECT_EQ(prune().report.backups_removed, 1u);
}

TEST_F(PruningTest, NeverTheLastGoodBackup) {
  const std::string good = take(1);
  pass(kDay);
  take(2, 1, false);
  pass(kDay);
  const std::string newest = take(3, 1, false);
  pass(100 * kDay);
  prune();
  EXPECT_EQ(backups(), (std::vector{good, newest}));
}

TEST_F(PruningTest, AfterAnUpgradeTheOldSystemWaits) {
  config_.wal.keep = kDay;
  take(1, 1);
  pass(kDay);
  const std::string old = take(2, 1);
  pass(kDay);
  take(1, 2, false);
  pass(100 * kDay);
  EXPECT_EQ(prune().report.backups_removed, 0u);
  EXPECT_EQ(count("wal/1/"), 2u);
  const std::string fresh = take(2, 2);
  pass(100 * kDay);
  prune();
  EXPECT_EQ(backups(), std::vector{fresh});
  EXPECT_EQ(count("wal/1/"), 0u);
  EXPECT_EQ(count("wal/2/"), 1u);
}

TEST_F(PruningTest, WalOfABackupAtWorkStays) {
  config_.wal.keep = std::chrono::minutes(1);
  take(1, 1);
  pass(hours(1));
  auto lock = repository::Lock::take(
      context(), {.kind = "backup", .scope = "database", .expiry = repository::kLongestExpiry});
  segment(1, 2);  // of a new system, whose first backup this is
  pass(std::chrono::minutes(20));
  EXPECT_THAT(prune().logs, IsEmpty());
  lock.reset();
  EXPECT_EQ(prune().logs.size(), 1u);
}

TEST_F(PruningTest, ARecordThatCannotBeReadKeepsPacksAndWal) {
  config_.wal.keep = kDay;
  const std::string first = take(1);
  pass(kDay);
  const std::string damaged = take(2);
  pass(kDay);
  take(3);
  pass(100 * kDay);
  storage::flip_bit(*repository_.storage, repository::record_name(damaged), 999);
  const std::size_t packs = count("packs/");
  const Pruning result = prune();
  EXPECT_EQ(result.report.backups_removed, 1u);
  EXPECT_TRUE(clocked_.stat(repository::record_name(damaged)));
  EXPECT_EQ(count("packs/"), packs);
  EXPECT_EQ(count("wal/"), 3u);
  EXPECT_THAT(result.report.problems, Contains(HasSubstr(damaged)));
}

TEST_F(PruningTest, WithoutJobsNothingGoes) {
  config_.jobs.clear();
  take(1);
  pass(1000 * kDay);
  take(2);
  EXPECT_EQ(prune().report.backups_removed, 0u);
  EXPECT_EQ(count("wal/"), 2u);
}

TEST_F(PruningTest, AnEmptyRepositoryIsNoProblem) {
  const Pruning result = prune();
  EXPECT_THAT(result.report.problems, IsEmpty());
  EXPECT_THAT(result.backups, IsEmpty());
}

}  // namespace
}  // namespace holdfast::stack
