// What a prune removes, and above all what it does not: beside other runs, with locks that are
// lost, damage, and clocks that are wrong.
#include "repository/prune.h"

#include <gmock/gmock.h>

#include "prune_fixture.h"
#include "repository/pack_format.h"
#include "repository/publish.h"
#include "repository/sealed_object.h"
#include "storage/recording_storage.h"

namespace holdfast::repository {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(Prune, FreesWhatAnExpiredBackupAloneNeededAfterTheGraceTime) {
  const std::string old = take(1, sample_files(1));
  const std::uint64_t only_old = bytes_in(*repository_.storage);
  take(2, sample_files(50));
  clocked_.pass(2 * kDay);
  const std::uint64_t before = bytes_in(*repository_.storage);

  const PruneReport first = run({.backups = {old}});
  EXPECT_EQ(first.backups_removed, 1u);
  EXPECT_EQ(first.removed.packs, 0u);
  EXPECT_GT(first.condemned.packs, 10u);
  EXPECT_EQ(bytes_in(*repository_.storage), before);
  EXPECT_EQ(list_backups(context()).backups.size(), 1u);
  expect_all_whole(context());

  clocked_.pass(kDay - minutes(1));
  const PruneReport early = run();
  EXPECT_EQ(early.removed.packs, 0u);
  EXPECT_EQ(early.waiting.packs, first.condemned.packs);
  const std::string tombstone = storage::names_in(*repository_.storage, "tombstones/").front();
  EXPECT_EQ(early.next, clocked_.stat(tombstone)->modified + kDay);
  EXPECT_EQ(bytes_in(*repository_.storage), before);

  clocked_.pass(minutes(1));
  const PruneReport second = run();
  EXPECT_EQ(second.removed.packs, first.condemned.packs);
  EXPECT_EQ(bytes_in(*repository_.storage), before - only_old);
  EXPECT_EQ(count_of(*repository_.storage, "tombstones/"), 0u);
  EXPECT_EQ(count_of(*repository_.storage, "locks/"), 0u);
  expect_all_whole(context());

  const PruneReport third = run();
  EXPECT_EQ(third.removed.packs + third.condemned.packs + third.waiting.packs, 0u);
  EXPECT_THAT(third.problems, IsEmpty());
}

TEST_F(Prune, WithoutGraceFreesAtOnce) {
  const std::string old = take(1, sample_files(1));
  take(2, sample_files(50));
  clocked_.pass(minutes(1));
  run({.backups = {old}, .grace = {}});
  EXPECT_LE(bytes_in(*repository_.storage), needed_bytes() * 23 / 20);
  EXPECT_EQ(count_of(*repository_.storage, "tombstones/"), 0u);
  expect_all_whole(context());
}

// Big packs of which a part is needed.
TEST_F(Prune, RewritesPacksOfWhichMuchIsDead) {
  SampleFiles both = sample_files(1);
  const SampleFiles part = both;
  for (const auto& [path, content] : sample_files(50)) both["other/" + path] = content;
  const std::string old = take(1, both, 1024 * 1024);
  take(2, part, 1024 * 1024);
  clocked_.pass(2 * kDay);

  const PruneReport report = run({.backups = {old}, .grace = {}});
  EXPECT_GT(report.rewritten.packs, 0u);
  EXPECT_GT(report.bytes_copied, 0u);
  EXPECT_LE(bytes_in(*repository_.storage), needed_bytes() * 23 / 20);
  expect_all_whole(context());
  EXPECT_EQ(run().rewritten.packs, 0u);
}

TEST_F(Prune, AWriteOnlyKeyRewritesNoDataAndSaysSo) {
  SampleFiles both = sample_files(1);
  const SampleFiles part = both;
  for (const auto& [path, content] : sample_files(50)) both["other/" + path] = content;
  const std::string old = take(1, both, 1024 * 1024);
  take(2, part, 1024 * 1024);
  clocked_.pass(2 * kDay);
  files_.erase(old);
  Context write_only = repository_.write_only_context();
  const PruneReport report =
      run({clocked_, write_only.keyring, write_only.clock, write_only.random, 3},
          {.backups = {old}, .grace = {}});
  ASSERT_EQ(report.notes.size(), 1u);
  EXPECT_THAT(report.notes[0], HasSubstr("write-only"));
  EXPECT_THAT(report.problems, IsEmpty());
  expect_all_whole(context());
}

TEST_F(Prune, ThePlanSaysWhatThePruneDoesAndWritesNothing) {
  SampleFiles both = sample_files(1);
  for (const auto& [path, content] : sample_files(50)) both["other/" + path] = content;
  const std::string old = take(1, both, 64 * 1024);
  take(2, sample_files(1), 64 * 1024);
  const std::vector<std::string> names = storage::names_in(*repository_.storage);

  clocked_.pass(2 * kDay);
  // A plan puts nothing that would tell it the storage's time.
  class Later final : public base::Clock {
    base::Time now() const override { return StoppedClock().now() + 2 * kDay; }
  } later;
  const Context now = context();
  const Context at_that_time{clocked_, now.keyring, later, now.random, 3};
  base::NoProgress progress;
  const PruneReport plan = plan_prune(at_that_time, {.backups = {old}}, progress, {});
  EXPECT_EQ(storage::names_in(*repository_.storage), names);
  const PruneReport done = run({.backups = {old}});
  EXPECT_EQ(plan.backups_removed, done.backups_removed);
  EXPECT_EQ(plan.condemned.packs, done.condemned.packs);
  EXPECT_EQ(plan.condemned.bytes, done.condemned.bytes);
  EXPECT_EQ(plan.rewritten.packs, done.rewritten.packs);
  EXPECT_GT(plan.rewritten.packs, 0u);
  EXPECT_EQ(plan.live_bytes, done.live_bytes);
}

TEST_F(Prune, WhatIsCondemnedIsStoredAnewByWhoNeedsItAgain) {
  const std::string old = take(1, sample_files(1));
  take(2, sample_files(50));
  clocked_.pass(2 * kDay);
  run({.backups = {old}});
  const std::uint64_t before = bytes_in(*repository_.storage);
  clocked_.pass(minutes(1));
  take(3, sample_files(1));  // began behind the tombstone
  EXPECT_GT(bytes_in(*repository_.storage), before);
  clocked_.pass(2 * kDay);
  EXPECT_GT(run().removed.packs, 10u);
  expect_all_whole(context());
}

TEST_F(Prune, ARunThatBeganBeforeTheTombstoneIsWaitedFor) {
  const std::string old = take(1, sample_files(1));
  take(2, sample_files(50));
  clocked_.pass(2 * kDay);

  // It builds on what only the old backup needs.
  auto lock = Lock::take(context(), {.kind = "backup", .scope = "test", .expiry = kLongestExpiry});
  const Index index = Index::load(context());
  clocked_.pass(minutes(1));
  EXPECT_GT(run({.backups = {old}, .grace = {}}).condemned.packs, 10u);
  clocked_.pass(minutes(5));
  EXPECT_EQ(run({.grace = {}}).removed.packs, 0u);

  BackupRecord record;
  record.summary.id = make_backup_id("test", context().clock.now() + minutes(3));
  record.summary.component = "test";
  record.summary.type = "files";
  record.summary.kind = "full";
  const Context its_own = context();
  ChunkStore store(its_own, index, {.pack_size_bytes = kPackSize});
  {
    const auto writer = store.new_writer();
    std::vector<FileEntry> entries;
    for (const auto& [path, content] : sample_files(1)) {
      entries.push_back(store_sample_file(path, content, *writer));
    }
    record.file_table = store_file_table(entries, *writer);
    writer->finish();
  }
  record.indexes = store.finish();
  EXPECT_EQ(publish_record(context(), record, index, *lock), storage::PutResult::kCreated);
  files_[record.summary.id] = sample_files(1);
  lock.reset();
  clocked_.pass(minutes(5));
  EXPECT_EQ(run({.grace = {}}).removed.packs, 0u);
  expect_all_whole(context());
  EXPECT_EQ(count_of(*repository_.storage, "tombstones/"), 0u);
}

// Its packs are in no record yet.
TEST_F(Prune, LeavesThePacksOfARunAtWork) {
  take(1, sample_files(1));
  clocked_.pass(2 * kDay);
  auto lock = Lock::take(context(), {.kind = "backup", .scope = "test"});
  clocked_.pass(minutes(1));
  StoreRun at_work(context(), {.pack_size_bytes = kPackSize});
  at_work.writer->put_bytes(random_bytes(2 * kPackSize, 7));
  at_work.finish();
  EXPECT_EQ(run({.grace = {}}).condemned.packs, 0u);
  lock.reset();
  clocked_.pass(minutes(1));
  EXPECT_EQ(run().condemned.packs, 0u);  // younger than the grace time: for the next run
  EXPECT_EQ(run({.grace = {}}).removed.packs, 1u);
  expect_all_whole(context());
}

class LostLock : public Prune {
 protected:
  // A run that has loaded the index and is about to publish; a prune has removed what it needs.
  void begin() {
    const std::string old = take(1, sample_files(1));
    take(2, sample_files(50));
    clocked_.pass(2 * kDay);
    record_ = get_record(context(), old);
    lock_ = Lock::take(context(), {.kind = "backup", .scope = "test"});
    index_ = Index::load(context());
    record_.summary.id = make_backup_id("test", context().clock.now() + minutes(3));
    old_ = old;
  }
  void lose_lock() {
    for (const std::string& name : storage::names_in(*repository_.storage, "locks/")) {
      repository_.storage->remove(name);
    }
  }
  void expect_refused() {
    const base::Error error = error_of([&] { publish_record(context(), record_, index_, *lock_); });
    EXPECT_THAT(error.what(), HasSubstr("a prune"));
    EXPECT_THAT(error.hint(), HasSubstr("again"));
    EXPECT_FALSE(clocked_.stat(record_name(record_.summary.id)));
  }

  std::string old_;
  BackupRecord record_;
  std::unique_ptr<Lock> lock_;
  Index index_;
};

TEST_F(LostLock, NoRecordOverPacksThatAreGone) {
  begin();
  lose_lock();
  run({.backups = {old_}, .grace = {}});
  expect_refused();
}

TEST_F(LostLock, NoRecordOverPacksThatAreCondemned) {
  begin();
  lose_lock();
  run({.backups = {old_}});
  expect_refused();
}

// The storage's clock went back: the tombstone seems older than the run.
TEST_F(LostLock, NoRecordWhereTheTombstoneSeemsOlder) {
  begin();
  clocked_.pass(-hours(1));
  run({.backups = {old_}});
  expect_refused();
}

TEST_F(LostLock, ARecordWhereNothingWasRemoved) {
  begin();
  lose_lock();
  EXPECT_EQ(publish_record(context(), record_, index_, *lock_), storage::PutResult::kCreated);
}

TEST_F(Prune, ExcludesOtherPrunesAndNoBackups) {
  const auto lock = take_prune_lock(context());
  EXPECT_EQ(error_of([&] { take_prune_lock(context()); }).kind(), base::ErrorKind::kLocked);
  Lock::take(context(), {.kind = "backup", .scope = "test", .exclusive_in_scope = true});
  Lock::take(context(), {.kind = "backup", .scope = "prune", .exclusive_in_scope = true});
}

TEST_F(Prune, RemovesNoPackWhileARecordCannotBeRead) {
  const std::string old = take(1, sample_files(1));
  const std::string damaged = take(2, sample_files(50));
  take(3, sample_files(90));
  clocked_.pass(2 * kDay);
  storage::flip_bit(*repository_.storage, record_name(damaged), 1000);
  files_.erase(damaged);
  const std::uint64_t before = bytes_in(*repository_.storage);
  const PruneReport report = run({.backups = {old}, .grace = {}});
  EXPECT_EQ(report.backups_removed, 1u);
  EXPECT_EQ(bytes_in(*repository_.storage), before);
  ASSERT_EQ(report.problems.size(), 1u);
  EXPECT_THAT(report.problems[0], HasSubstr(record_name(damaged)));
  for (const auto& [id, files] : files_) EXPECT_EQ(read_sample_backup(context(), id), files);
}

TEST_F(Prune, RemovesNoPackWhileAFileTableCannotBeRead) {
  const std::string old = take(1, sample_files(1));
  const std::string damaged = take(2, sample_files(50));
  clocked_.pass(2 * kDay);
  const Index index = Index::load(context());
  const auto table = index.find(get_record(context(), damaged).file_table.front());
  storage::flip_bit(*repository_.storage, pack_name(index.pack(table->pack).id), 140 * 8);
  const std::uint64_t before = bytes_in(*repository_.storage);
  EXPECT_EQ(run({.backups = {old}, .grace = {}}).problems.size(), 1u);
  EXPECT_EQ(bytes_in(*repository_.storage), before);
}

TEST_F(Prune, LeavesPacksOfWhichLittleIsDead) {
  SampleFiles most = sample_files(1);
  SampleFiles all = most;
  all["little"] = random_bytes(5'000, 3);
  const std::string old = take(1, all, 1024 * 1024);
  take(2, most, 1024 * 1024);
  clocked_.pass(2 * kDay);
  const PruneReport report = run({.backups = {old}, .grace = {}});
  EXPECT_EQ(report.rewritten.packs, 0u);
  EXPECT_GT(report.dead_bytes, 4'000u);
}

// What it takes to read a backup that shares all with one before does not grow with what they
// share.
TEST_F(Prune, ReadsWhatBackupsShareOnce) {
  const auto reads_with = [&](int backups) {
    TestRepository repository;
    for (int i = 1; i <= backups; ++i) {
      take_sample_backup(repository.context(), i, sample_files(1));
    }
    storage::Recording recording;
    storage::RecordingStorage recorded(*repository.storage, recording);
    base::NoProgress progress;
    plan_prune(repository.context_of(recorded), {}, progress, {});
    return recording.count(storage::Operation::kRead);
  };
  EXPECT_EQ(reads_with(30), reads_with(1));
}

TEST_F(Prune, JoinsManyIndexObjects) {
  std::string last;
  for (int i = 1; i <= 40; ++i) last = take(i, sample_files(static_cast<std::uint32_t>(i / 8)));
  for (int i = 1; i <= 5; ++i) {  // of runs that found nothing new to name
    put_metadata(context(), index_name(IndexId::make(repository_.random)), MetadataKind::kIndex,
                 encode_index({}));
  }
  for (int i = 1; i < 20; ++i) take(100 + i, sample_files(static_cast<std::uint32_t>(100 * i)));
  clocked_.pass(2 * kDay);
  EXPECT_GT(count_of(*repository_.storage, "index/"), 16u);
  run();
  EXPECT_EQ(count_of(*repository_.storage, "index/"), 1u);
  expect_all_whole(context());
  // A replaced object is no damage, and what replaces it may be replaced.
  const std::string name = storage::names_in(*repository_.storage, "index/").front();
  run({.backups = {last}, .grace = {}});
  expect_all_whole(context());
  std::vector<std::string> backups;
  for (const auto& [id, files] : files_) backups.push_back(id);
  run({.backups = {backups[0], backups[1], backups[8]}, .grace = {}});
  expect_all_whole(context());
  EXPECT_FALSE(clocked_.stat(name));
  // Every name in a record is still known.
  const Index index = Index::load(context());
  for (const auto& [id, files] : files_) {
    for (const IndexId& named : get_record(context(), id).indexes) {
      EXPECT_TRUE(index.is_replaced(named) || clocked_.stat(index_name(named))) << named.hex();
    }
  }
}

TEST_F(Prune, NamesAgainWhatALostIndexObjectNamed) {
  const std::string backup = take(1, sample_files(1));
  for (const std::string& name : storage::names_in(*repository_.storage, "index/")) {
    storage::delete_object(*repository_.storage, name);
  }
  EXPECT_FALSE(Index::load(context()).adopted().empty());
  run();
  EXPECT_TRUE(Index::load(context()).adopted().empty());
  expect_whole(context(), backup);
}

TEST_F(Prune, ADamagedTombstoneIsFoundAndReplaced) {
  const std::string old = take(1, sample_files(1));
  take(2, sample_files(50));
  clocked_.pass(2 * kDay);
  run({.backups = {old}});
  const std::string tombstone = storage::names_in(*repository_.storage, "tombstones/").front();
  storage::flip_bit(*repository_.storage, tombstone, 500);
  std::set<std::string> damaged;
  for (const Damage& damage : verify_backups(context(), {files_.begin()->first}).damaged) {
    damaged.insert(damage.object);
  }
  EXPECT_TRUE(damaged.contains(tombstone));
  run();
  EXPECT_FALSE(clocked_.stat(tombstone));
  run();
  clocked_.pass(2 * kDay);
  EXPECT_GT(run().removed.packs, 10u);
  expect_all_whole(context());
}

}  // namespace
}  // namespace holdfast::repository
