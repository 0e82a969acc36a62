// Object lock: what live backups need is locked, and a prune leaves alone what is.
#include "repository/retention_lock.h"

#include <gmock/gmock.h>

#include "prune_fixture.h"
#include "storage/tiered_storage.h"

namespace holdfast::repository {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr base::Duration kPeriod = 8 * kDay;

class RetentionLock : public Prune {
 protected:
  RetentionLock() { tiered_.period = kPeriod; }

  Context locking() { return repository_.context_of(tiered_); }
  std::string take_locked(int number, const SampleFiles& files) {
    return take_sample_backup(locking(), number, files, kPackSize);
  }
  Coverage cover(const std::vector<std::string>& backups,
                 const std::vector<std::string>& logs = {}) {
    put_others();
    return cover_backups(locking(), backups, logs, clocked_.now(), {}).value();
  }
  // What the parts of a repository that tests use are without.
  void put_others() {
    tiered_.put("format", bytes_of("format"));
    tiered_.put("keys/1", bytes_of("key"));
  }
  void expect_locked(base::Time until, const std::string& prefix = "") {
    clocked_.list(prefix, [&](const storage::ObjectInfo& info) {
      if (info.name.starts_with("locks/")) return;
      const auto locked = tiered_.locked_until(info.name);
      EXPECT_TRUE(locked && *locked >= until) << info.name;
    });
  }

  storage::TieredStorage tiered_{clocked_};
};

TEST_F(RetentionLock, NothingIsAskedWhereTheRepositoryDoesNotLock) {
  tiered_.period.reset();
  const std::string id = take_locked(1, sample_files(1));
  EXPECT_FALSE(cover_backups(locking(), {id}, {}, clocked_.now(), {}));
  EXPECT_THAT(locked_objects(locking(), {record_name(id)}, clocked_.now(), {}), IsEmpty());
  EXPECT_EQ(tiered_.states(), 0);
}

TEST_F(RetentionLock, WhatWasPutJustNowIsCoveredAndAskedForAllTheSame) {
  const std::string id = take_locked(1, sample_files(1));
  const Coverage coverage = cover({id});
  EXPECT_GT(coverage.objects, 10u);
  EXPECT_EQ(coverage.extended, 0u);
  EXPECT_EQ(static_cast<std::uint64_t>(tiered_.states()), coverage.objects);
  expect_locked(coverage.until);
}

TEST_F(RetentionLock, ABackupExtendsWhatItUsesAgain) {
  const std::string first = take_locked(1, sample_files(1));
  put_others();
  clocked_.put("wal/1", bytes_of("segment"));
  clocked_.pass(3 * kDay);
  const std::string second = take_locked(2, sample_files(1));
  const Coverage coverage = cover({second}, {"wal/1"});
  EXPECT_THAT(coverage.problems, IsEmpty());
  EXPECT_GT(coverage.extended, 5u);
  EXPECT_EQ(coverage.until, clocked_.now() + kPeriod);
  expect_locked(coverage.until, "packs/");
  for (const std::string& name :
       {std::string("wal/1"), std::string("keys/1"), std::string("format"), record_name(second)}) {
    EXPECT_GE(tiered_.locked_until(name).value(), coverage.until) << name;
  }
  EXPECT_LT(tiered_.locked_until(record_name(first)).value(), coverage.until)
      << "a record that is not covered";
  // By a quarter more: soon after, nothing is to be done.
  clocked_.pass(kDay);
  EXPECT_EQ(cover({second}, {"wal/1"}).extended, 0u);
}

TEST_F(RetentionLock, ALongerPeriodIsNoticedAtOnce) {
  const std::string id = take_locked(1, sample_files(1));
  tiered_.period = 4 * kPeriod;
  const Coverage coverage = cover({id});
  EXPECT_GT(coverage.extended, 10u);
  expect_locked(coverage.until);
}

TEST_F(RetentionLock, ARightThatLacksIsAProblemAndNotAFailure) {
  const std::string id = take_locked(1, sample_files(1));
  clocked_.pass(5 * kDay);
  tiered_.may_lock = false;
  const Coverage coverage = cover({id});
  EXPECT_THAT(coverage.problems, ElementsAre(HasSubstr("AccessDenied")));
}

TEST_F(RetentionLock, APruneWaitsForTheLocksOfPacks) {
  const std::string old = take_locked(1, sample_files(1));
  const std::string stays = take_locked(2, sample_files(50));
  clocked_.pass(2 * kDay);
  clocked_.remove(record_name(old));  // as if its lock had ended before
  const std::uint64_t before = bytes_in(*repository_.storage);
  tiered_.period = kPeriod;
  PruneReport report = run(locking(), {.grace = kDay});
  EXPECT_GT(report.condemned.packs, 5u);
  clocked_.pass(2 * kDay);
  report = run(locking(), {.grace = kDay});
  EXPECT_EQ(report.removed.packs, 0u);
  EXPECT_GT(report.locked.packs, 5u);
  EXPECT_EQ(report.waiting.packs, report.locked.packs);
  ASSERT_TRUE(report.next);
  EXPECT_GT(*report.next, clocked_.now() + 5 * kDay);
  EXPECT_EQ(bytes_in(*repository_.storage), before);

  clocked_.pass(11 * kDay);
  const std::uint64_t waiting = report.waiting.packs;
  report = run(locking(), {.grace = kDay});
  EXPECT_EQ(report.removed.packs, waiting);
  EXPECT_EQ(count_of(*repository_.storage, "tombstones/"), 0u);
  EXPECT_EQ(read_sample_backup(locking(), stays), sample_files(50));
}

}  // namespace
}  // namespace holdfast::repository
