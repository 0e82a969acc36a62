#include "repository/copy.h"

#include <gmock/gmock.h>

#include "copy_fixture.h"
#include "repository/lock.h"
#include "repository/prune.h"
#include "storage/clocked_storage.h"
#include "storage/fault_storage.h"
#include "storage/recording_storage.h"

namespace holdfast::repository {
namespace {

using base::ErrorKind;
using storage::Operation;
using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST_F(CopyTest, MovesObjectsAsTheyAre) {
  const std::string id = take(1, sample_files(1));
  const CopiedBackup copied = copy_one(from(), to(), id);
  EXPECT_FALSE(copied.already_there);
  expect_whole(to(), id);
  for (const char* prefix : {"packs/", "wal/"}) {
    EXPECT_EQ(names(to(), prefix), names(from(), prefix));
    for (const std::string& name : names(from(), prefix)) {
      EXPECT_EQ(storage::content_of(*to_, name), storage::content_of(*from_.storage, name));
    }
  }
  std::uint64_t bytes = 0;
  std::uint64_t objects = 0;
  for (const char* prefix : {"packs/", "index/", "wal/", "backups/"}) {
    to_->list(prefix, [&](const storage::ObjectInfo& info) {
      ++objects;
      bytes += info.size_bytes;
    });
  }
  EXPECT_EQ(copied.bytes_sent, bytes);
  EXPECT_EQ(copied.objects_sent, objects);
  EXPECT_THAT(names(to(), "locks/"), IsEmpty());
  EXPECT_THAT(names(from(), "locks/"), IsEmpty());
}

TEST_F(CopyTest, NeedsNoSecretKey) {
  const std::string id = take(1, sample_files(1));
  copy_one(write_only(*from_.storage), write_only(*to_), id);
  expect_whole(to(), id);
}

TEST_F(CopyTest, SendsNothingTwice) {
  const std::string first = take(1, sample_files(1));
  const std::string second = take(2, changed_files());
  copy_one(from(), to(), first);

  storage::Recording read;
  storage::Recording written;
  storage::RecordingStorage source(*from_.storage, read);
  storage::RecordingStorage target(*to_, written);
  const CopiedBackup again = copy_one(from_.context_of(source), from_.context_of(target), first);
  EXPECT_TRUE(again.already_there);
  EXPECT_EQ(again.objects_sent, 0u);
  EXPECT_EQ(written.count(Operation::kPut), 0u);
  EXPECT_EQ(read.count(Operation::kRead, "packs/"), 0u);

  const std::size_t before = names(to(), "packs/").size();
  copy_one(from_.context_of(source), from_.context_of(target), second);
  expect_whole(to(), second);
  EXPECT_EQ(written.count(Operation::kPut, "packs/"),
            names(from(), "packs/").size() - before);  // only the new ones
}

TEST_F(CopyTest, OfSeveralShareWithinOneRun) {
  const std::string first = take(1, sample_files(1));
  const std::string second = take(2, changed_files());
  storage::Recording written;
  storage::RecordingStorage target(*to_, written);
  EXPECT_THAT(copy(from(), from_.context_of(target), {first, second}), SizeIs(2));
  EXPECT_EQ(written.count(Operation::kPut, "packs/"), names(from(), "packs/").size());
  expect_whole(to(), first);
  expect_whole(to(), second);
}

TEST_F(CopyTest, GoesOnWhereAKilledOneEnded) {
  const std::string id = take(1, sample_files(1));
  const std::size_t packs = names(from(), "packs/").size();
  storage::Faults faults;
  storage::FaultStorage dying(*to_, faults);
  faults.arm({.at = packs / 2,
              .from_then_on = true,
              .operations = {Operation::kPut},
              .name_prefix = "packs/"});
  EXPECT_THAT(refusal(from(), from_.context_of(dying), id).what(), HasSubstr("injected"));
  EXPECT_THAT(names(to(), "backups/"), IsEmpty());
  storage::Recording written;
  storage::RecordingStorage target(*to_, written);
  copy_one(from(), from_.context_of(target), id);
  EXPECT_LE(written.count(Operation::kPut, "packs/"), packs - packs / 2 + 1);
  expect_whole(to(), id);
}

TEST_F(CopyTest, DryRunWritesNothing) {
  const std::string id = take(1, sample_files(1));
  const auto before = names(to(), "");
  const auto planned = copy(from(), to(), {id}, true);
  EXPECT_EQ(names(to(), ""), before);
  EXPECT_EQ(planned.at(0).objects_sent, names(from(), "packs/").size() + 1);
  EXPECT_GT(planned.at(0).bytes_sent, 0u);
}

// ---- What is refused ----------------------------------------------------------------------------

TEST_F(CopyTest, PassesOnNoDamage) {
  const std::string damaged = take(1, sample_files(1));
  const std::string sound = take(2, sample_files(50));
  copy_one(from(), to(), sound);  // it shares nothing with the first
  storage::copy_objects(*to_, *other_.storage);
  for (const std::string& name : names(from(), "packs/")) {
    if (to_->stat(name)) continue;
    const std::size_t size = from_.storage->stat(name)->size_bytes;
    for (const std::size_t byte : {std::size_t{20}, std::size_t{200}, size / 2, size - 60}) {
      const base::Bytes content = storage::content_of(*from_.storage, name);
      storage::flip_bit(*from_.storage, name, 8 * byte);
      const base::Error error = refusal(from(), to(), damaged);
      EXPECT_EQ(error.kind(), ErrorKind::kDamaged) << byte;
      EXPECT_THAT(error.what(), HasSubstr(name)) << byte;
      storage::replace_object(*from_.storage, name, content);
    }
    EXPECT_FALSE(to_->stat(record_name(damaged)));
    EXPECT_FALSE(to_->stat(name));
  }
  copy_one(from(), to(), damaged);
  expect_whole(to(), damaged);
}

TEST_F(CopyTest, OfADamagedBackupLeavesOutNoOther) {
  const std::string damaged = take(1, sample_files(1));
  const std::string sound = take(2, sample_files(50));
  storage::truncate_object(*from_.storage, log_of(damaged), 4000);
  for (const bool full : {false, true}) {
    const Context source = full ? from() : write_only(*from_.storage);
    const auto copied = copy(source, to(), {damaged, sound});
    ASSERT_THAT(copied, SizeIs(2));
    ASSERT_TRUE(copied[0].error);
    EXPECT_EQ(copied[0].error->kind(), ErrorKind::kDamaged);
    EXPECT_THAT(copied[0].error->what(), HasSubstr(log_of(damaged)));
    EXPECT_FALSE(copied[1].error);
    expect_whole(to(), sound);
    EXPECT_FALSE(to_->stat(record_name(damaged)));
  }
}

TEST_F(CopyTest, OfWhatIsIncompleteIsRefused) {
  const std::string id = take(1, sample_files(1));
  const base::Bytes log = storage::content_of(*from_.storage, log_of(id));
  from_.storage->remove(log_of(id));
  EXPECT_EQ(refusal(from(), to(), id).kind(), ErrorKind::kDamaged);
  from_.storage->put(log_of(id), log);
  const std::string pack = names(from(), "packs/").front();
  from_.storage->remove(pack);
  const base::Error error = refusal(from(), to(), id);
  EXPECT_EQ(error.kind(), ErrorKind::kDamaged);
  EXPECT_THAT(error.what(), AnyOf(HasSubstr(pack), HasSubstr("missing")));
  EXPECT_THAT(names(to(), "backups/"), IsEmpty());
}

TEST_F(CopyTest, ReplacesNothing) {
  const std::string id = take(1, sample_files(1));
  put_log(to(), log_of(id), random_bytes(5000, 99), {}, 1);
  const base::Error log = refusal(from(), to(), id);
  EXPECT_EQ(log.kind(), ErrorKind::kRefused);
  EXPECT_THAT(log.what(), HasSubstr("other content"));
  to_->remove(log_of(id));
  take_sample_backup(to(), 1, sample_files(50));
  const base::Error record = refusal(from(), to(), id);
  EXPECT_EQ(record.kind(), ErrorKind::kRefused);
  EXPECT_THAT(record.what(), HasSubstr("another backup of that id"));
}

TEST_F(CopyTest, ToKeysThatLackTheDataKeyIsRefused) {
  const Keyring older = from_.keyring;
  from_.keyring.add_data_key(from_.random);
  const std::string id = take(1, sample_files(1));
  const Context target{*to_, older, from_.clock, from_.random, 3};
  const base::Error error = refusal(from(), target, id);
  EXPECT_EQ(error.kind(), ErrorKind::kRefused);
  EXPECT_THAT(error.what(), HasSubstr("sealed to a key"));
  EXPECT_THAT(names(to(), "backups/"), IsEmpty());
}

// ---- Beside a prune of the target ---------------------------------------------------------------

class CopyToAPrunedTarget : public CopyTest {
 protected:
  static constexpr base::Duration kDay = std::chrono::hours(24);

  Context target() { return from_.context_of(clocked_); }
  void prune_target(std::vector<std::string> backups) {
    const auto lock = take_prune_lock(target());
    base::NoProgress progress;
    prune(target(), {.backups = std::move(backups)}, *lock, progress, {});
  }

  storage::ClockedStorage clocked_{*to_, StoppedClock().now()};
};

// The packs are condemned by their names, which they would have again.
TEST_F(CopyToAPrunedTarget, IsNotSweptAway) {
  const std::string id = take(1, sample_files(1));
  copy_one(from(), target(), id);
  clocked_.pass(2 * kDay);
  prune_target({id});
  EXPECT_THAT(names(to(), "tombstones/"), SizeIs(1));
  clocked_.pass(2 * kDay);
  const CopiedBackup again = copy_one(from(), target(), id);
  EXPECT_LT(again.objects_sent, 4u);  // index, log, record
  expect_whole(to(), id);
  prune_target({});
  clocked_.pass(2 * kDay);
  prune_target({});
  expect_whole(to(), id);
}

TEST_F(CopyToAPrunedTarget, WaitsForAPruneThatIsAtWork) {
  const std::string id = take(1, sample_files(1));
  copy_one(from(), target(), id);
  clocked_.pass(2 * kDay);
  prune_target({id});
  {
    const auto prune = take_prune_lock(target());
    EXPECT_EQ(refusal(from(), target(), id).kind(), ErrorKind::kLocked);
    EXPECT_THAT(names(to(), "backups/"), IsEmpty());
  }
  copy_one(from(), target(), id);
  expect_whole(to(), id);
}

// ---- Between repositories of different keys -----------------------------------------------------

TEST_F(CopyTest, StoresAnewUnderOtherKeys) {
  const std::string first = take(1, sample_files(1));
  const std::string second = take(2, changed_files());
  copy_one(from(), other(), first);
  expect_whole(other(), first);
  const CopiedBackup shared = copy_one(from(), other(), second);
  expect_whole(other(), second);
  TestRepository empty(3);
  const CopiedBackup alone = copy_one(from(), empty.context(), second);
  EXPECT_LT(shared.bytes_sent, alone.bytes_sent * 2 / 3);
  EXPECT_TRUE(copy_one(from(), other(), first).already_there);
  EXPECT_EQ(get_record(other(), first).summary.started, get_record(from(), first).summary.started);
}

TEST_F(CopyTest, UnderOtherKeysMustReadTheSource) {
  const std::string id = take(1, sample_files(1));
  const base::Error error = refusal(write_only(*from_.storage), other(), id);
  EXPECT_EQ(error.kind(), ErrorKind::kRefused);
  EXPECT_THAT(error.what(), HasSubstr("write-only"));
  const Context writing{*other_.storage, other_.write_only, other_.clock, other_.random, 3};
  copy_one(from(), writing, id);
  expect_whole(other(), id);
}

TEST_F(CopyTest, UnderOtherKeysPassesOnNoDamage) {
  const std::string id = take(1, sample_files(1));
  for (const std::string& name : names(from(), "packs/")) {
    const base::Bytes content = storage::content_of(*from_.storage, name);
    storage::flip_bit(*from_.storage, name, 8 * 200);
    EXPECT_EQ(refusal(from(), other(), id).kind(), ErrorKind::kDamaged);
    storage::replace_object(*from_.storage, name, content);
  }
  EXPECT_THAT(names(other(), "backups/"), IsEmpty());
}

}  // namespace
}  // namespace holdfast::repository
