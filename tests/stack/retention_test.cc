#include "stack/retention.h"

#include <gmock/gmock.h>

#include <set>

namespace holdfast::stack {
namespace {

using std::chrono::hours;
using testing::HasSubstr;

constexpr base::Duration kDay = hours(24);
const base::Time kStart = *base::parse_time("2024-01-01T00:00:00Z", {});

BackupInQuestion backup_at(base::Time finished, const std::string& job,
                           const std::string& component = "database") {
  BackupInQuestion backup;
  backup.summary.started = finished - std::chrono::minutes(5);
  backup.summary.id = repository::make_backup_id(component, backup.summary.started);
  backup.summary.component = component;
  backup.summary.job = job;
  backup.summary.finished = finished;
  backup.stored = finished;
  return backup;
}

JobConfig job(const std::string& name, std::optional<base::Duration> keep) {
  JobConfig job;
  job.name = name;
  job.backup = {"database"};
  job.keep = keep;
  return job;
}

// The table of the handbook.
const std::vector<JobConfig> kJobs = {job("incremental", 7 * kDay), job("daily", 30 * kDay),
                                      job("weekly", 90 * kDay), job("monthly", 365 * kDay)};

std::vector<bool> kept(const std::vector<BackupInQuestion>& backups,
                       const std::vector<JobConfig>& jobs, base::Time now) {
  std::vector<bool> result;
  for (const BackupFate& fate : decide_on_backups(backups, jobs, now)) {
    result.push_back(fate.keep);
    EXPECT_FALSE(fate.why.empty());
  }
  return result;
}

// A year of backups every six hours, pruned every day: what is there is what the table says, and
// nothing goes too early.
TEST(Retention, KeepsWhatTheTableSaysOverAYear) {
  std::vector<BackupInQuestion> there;
  for (int quarter = 0; quarter < 4 * 365; ++quarter) {
    const base::Time now = kStart + quarter * hours(6);
    const int day = quarter / 4;
    const auto date = std::chrono::year_month_day(std::chrono::floor<std::chrono::days>(now));
    const bool first_of_day = quarter % 4 == 0;
    std::string of = "incremental";
    if (first_of_day) of = "daily";
    if (first_of_day && day % 7 == 6) of = "weekly";
    if (first_of_day && date.day() == std::chrono::day(1)) of = "monthly";
    there.push_back(backup_at(now, of));
    if (quarter % 4 != 3) continue;

    const std::vector<bool> keep = kept(there, kJobs, now);
    std::vector<BackupInQuestion> left;
    for (std::size_t i = 0; i < there.size(); ++i) {
      const base::Duration age = now - there[i].ended();
      const auto rule = std::find_if(kJobs.begin(), kJobs.end(), [&](const JobConfig& known) {
        return known.name == there[i].summary.job;
      });
      ASSERT_EQ(keep[i], age < *rule->keep) << there[i].summary.id << " at " << day;
      if (keep[i]) left.push_back(there[i]);
    }
    there = std::move(left);
  }
  std::map<std::string, int> count;
  for (const BackupInQuestion& backup : there) ++count[backup.summary.job];
  EXPECT_EQ(count["incremental"], 7 * 3);
  EXPECT_NEAR(count["daily"], 30 - 4 - 1, 1);
  EXPECT_NEAR(count["weekly"], 90 / 7, 1);
  EXPECT_EQ(count["monthly"], 12);
}

TEST(Retention, NeverTheNewestNorTheLastGoodOne) {
  std::vector<BackupInQuestion> backups;
  for (int day = 0; day < 4; ++day) backups.push_back(backup_at(kStart + day * kDay, "daily"));
  const base::Time now = kStart + 1000 * kDay;
  EXPECT_EQ(kept(backups, kJobs, now), (std::vector{false, false, false, true}));
  backups[3].good = false;
  backups[2].good = false;
  EXPECT_EQ(kept(backups, kJobs, now), (std::vector{false, true, false, true}));
  backups[1].good = backups[0].good = false;
  EXPECT_EQ(kept(backups, kJobs, now), (std::vector{false, false, false, true}));
}

TEST(Retention, EachComponentByItself) {
  const std::vector<BackupInQuestion> backups = {
      backup_at(kStart, "daily"), backup_at(kStart + kDay, "daily"),
      backup_at(kStart, "daily", "cache"), backup_at(kStart - kDay, "daily", "cache")};
  EXPECT_EQ(kept(backups, kJobs, kStart + 100 * kDay), (std::vector{false, true, true, false}));
}

TEST(Retention, WithoutAJobAsTheLongestOfItsComponent) {
  std::vector<BackupInQuestion> backups = {backup_at(kStart, ""),
                                           backup_at(kStart, "gone"),
                                           backup_at(kStart, "daily", "cache"),
                                           backup_at(kStart, "", "cache"),
                                           backup_at(kStart + 300 * kDay, "daily"),
                                           backup_at(kStart + 300 * kDay, "daily", "cache")};
  backups[0].summary.id += "x";  // two of one moment
  backups[2].summary.id += "x";
  EXPECT_EQ(kept(backups, kJobs, kStart + 364 * kDay),
            (std::vector{true, true, false, true, true, true}));
  EXPECT_EQ(kept(backups, kJobs, kStart + 365 * kDay),
            (std::vector{false, false, false, true, true, true}));
  const auto fates = decide_on_backups(backups, kJobs, kStart + 364 * kDay);
  EXPECT_THAT(fates[1].why, HasSubstr("gone"));
  EXPECT_THAT(fates[1].why, HasSubstr("monthly"));
  EXPECT_EQ(fates[1].until, kStart + 365 * kDay);
  EXPECT_THAT(fates[3].why, HasSubstr("for ever"));
  // A job that says nothing keeps for ever.
  std::vector<JobConfig> jobs = kJobs;
  jobs.push_back(job("archive", std::nullopt));
  EXPECT_TRUE(kept(backups, jobs, kStart + 3000 * kDay)[0]);
  EXPECT_TRUE(kept(backups, jobs, kStart + 3000 * kDay)[1]);
  EXPECT_EQ(kept(backups, {}, kStart + 3000 * kDay), std::vector<bool>(6, true));
}

TEST(Retention, TheOldSystemWaitsForAGoodBackupOfTheNewOne) {
  std::vector<BackupInQuestion> backups;
  for (int day = 0; day < 4; ++day) {
    backups.push_back(backup_at(kStart + day * kDay, "daily"));
    backups.back().system = day < 2 ? "old" : "new";
  }
  backups[2].good = backups[3].good = false;
  const base::Time now = kStart + 1000 * kDay;
  EXPECT_EQ(kept(backups, kJobs, now), (std::vector{true, true, false, true}));
  backups[3].good = true;
  EXPECT_EQ(kept(backups, kJobs, now), (std::vector{false, false, false, true}));
}

// Either clock that is ahead, and either that is behind: never earlier than it should.
TEST(Retention, AWrongClockOnlyDelays) {
  std::vector<BackupInQuestion> backups = {backup_at(kStart, "daily"),
                                           backup_at(kStart + kDay, "daily")};
  const base::Time due = kStart + 30 * kDay;
  EXPECT_TRUE(kept(backups, kJobs, due - base::Duration(1))[0]);
  EXPECT_FALSE(kept(backups, kJobs, due)[0]);
  backups[0].summary.finished -= kDay;  // the host was behind
  EXPECT_TRUE(kept(backups, kJobs, due - base::Duration(1))[0]);
  backups[0].summary.finished += 2 * kDay;  // and ahead
  EXPECT_TRUE(kept(backups, kJobs, due)[0]);
  backups[0].summary.finished = kStart + 3000 * kDay;
  EXPECT_TRUE(kept(backups, kJobs, due + 100 * kDay)[0]);
  // Now itself is before all of them.
  EXPECT_EQ(kept(backups, kJobs, kStart - 400 * kDay), (std::vector{true, true}));
}

TEST(Retention, ABackupFromTheFutureStays) {
  std::vector<BackupInQuestion> backups = {backup_at(kStart + kDay, "brief"),
                                           backup_at(kStart + 2 * kDay, "brief")};
  const std::vector<JobConfig> jobs = {job("brief", base::Duration(0))};
  const auto fates = decide_on_backups(backups, jobs, kStart);
  EXPECT_TRUE(fates[0].keep && fates[1].keep);
}

TEST(Retention, AClockThatIsADayWrongDelaysAndACopyDoesNot) {
  BackupInQuestion backup = backup_at(kStart - 8 * kDay, "incremental");
  backup.stored = backup.summary.finished + kDay;  // the host's clock was a day behind
  EXPECT_EQ(backup.ended(), kStart - 7 * kDay);
  backup.stored = backup.summary.finished - kDay;  // a day ahead
  EXPECT_EQ(backup.ended(), kStart - 8 * kDay);
  backup.stored = kStart;  // the repository was copied
  EXPECT_EQ(backup.ended(), kStart - 8 * kDay);
}

}  // namespace
}  // namespace holdfast::stack
