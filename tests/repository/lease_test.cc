// Locks between hosts: leases that expire, and the fencing numbers that stop who slept through the
// end of its own.
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "prune_fixture.h"
#include "repository/fence.h"
#include "repository/lock.h"
#include "repository/publish.h"
#include "storage/fault_storage.h"
#include "storage/pausing_storage.h"
#include "storage/recording_storage.h"

namespace holdfast::repository {
namespace {

using base::ErrorKind;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using storage::Operation;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// Waits for what another thread brings about; fails the test if it takes more than 20 s.
void wait_until(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "it did not come to pass";
    std::this_thread::yield();
  }
}

// Refuses every removal, as a credential that may only add.
class AppendOnly final : public storage::Storage {
 public:
  explicit AppendOnly(storage::Storage& inner) : inner_(inner) {}
  storage::PutResult put(std::string_view name, base::ByteView content, storage::Use use) override {
    return inner_.put(name, content, use);
  }
  std::optional<base::Bytes> get(std::string_view name, std::uint64_t max) override {
    return inner_.get(name, max);
  }
  std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                  base::MutableByteView buffer) override {
    return inner_.read(name, offset, buffer);
  }
  std::optional<storage::ObjectInfo> stat(std::string_view name) override {
    return inner_.stat(name);
  }
  void list(std::string_view prefix,
            const std::function<void(const storage::ObjectInfo&)>& each) override {
    inner_.list(prefix, each);
  }
  bool remove(std::string_view name) override {
    throw base::Error(ErrorKind::kPermission, fmt::format("removing {}: access denied", name));
  }
  std::string describe() const override { return inner_.describe(); }

 private:
  storage::Storage& inner_;
};

class Lease : public Prune {
 protected:
  // As a process of another host; without a heartbeat unless one is asked for.
  LockRequest request_of(const std::string& host, milliseconds heartbeat = hours(1)) {
    ProcessIdentity process = ProcessIdentity::of_this_process();
    process.host = host;
    return {.kind = "backup",
            .scope = "database",
            .exclusive_in_scope = true,
            .command = "holdfast backup",
            .heartbeat_interval = heartbeat,
            .ask_again = milliseconds(0),
            .process = process};
  }
  LockRequest prune_of(const std::string& host) {
    LockRequest request = request_of(host);
    request.kind = "prune";
    request.scope = "the repository";
    return request;
  }
  std::unique_ptr<Lock> take_on(const std::string& host) {
    return Lock::take(context(), request_of(host));
  }
  base::Error refusal_on(const std::string& host) {
    return error_of([&] { take_on(host); });
  }
  void expect_passed(const Lock& lock) {
    for (const base::Error& error :
         {error_of([&] { lock.require(); }), error_of([&] { lock.require_newest(); })}) {
      EXPECT_EQ(error.kind(), ErrorKind::kLocked);
      EXPECT_THAT(error.what(), HasSubstr("another run has taken over"));
    }
  }
  std::vector<std::string> names(std::string_view prefix) {
    return storage::names_in(*repository_.storage, prefix);
  }
};

TEST_F(Lease, IsRenewedAndBinding) {
  const auto lock = Lock::take(context(), request_of("one", milliseconds(1)));
  for (int i = 0; i < 20; ++i) {
    clocked_.pass(minutes(3));
    for (int renewal = 0; renewal < 2; ++renewal) {  // the first may have begun before that
      const std::vector<std::string> before = names("locks/");
      wait_until([&] { return names("locks/") != before; });
    }
    wait_until([&] { return names("locks/").size() == 1; });
    ASSERT_EQ(refusal_on("two").kind(), ErrorKind::kLocked);
  }
  EXPECT_NO_THROW(lock->require());
  EXPECT_TRUE(lock->is_held());
}

TEST_F(Lease, IsTakenOverWhereItsHolderDied) {
  const auto paused = take_on("one");
  clocked_.pass(minutes(4));
  const base::Error error = refusal_on("two");
  EXPECT_EQ(error.kind(), ErrorKind::kLocked);
  EXPECT_THAT(error.hint(), HasSubstr("5 min"));
  EXPECT_NO_THROW(paused->require());

  clocked_.pass(minutes(2));
  const auto heir = take_on("two");
  expect_passed(*paused);
  EXPECT_FALSE(paused->is_held());
  EXPECT_NO_THROW(heir->require());
  EXPECT_THAT(names("locks/"), SizeIs(1));
  EXPECT_EQ(refusal_on("three").kind(), ErrorKind::kLocked);
}

TEST_F(Lease, OfOneComponentSaysNothingOfAnother) {
  const auto lock = take_on("one");
  LockRequest request = request_of("two");
  request.scope = "cache";
  clocked_.pass(minutes(6));
  const auto other = Lock::take(context(), request);
  EXPECT_NO_THROW(lock->require_newest());
  EXPECT_FALSE(lock->is_held());  // it had expired, and was removed
  EXPECT_THAT(names("fences/"),
              ElementsAre("fences/cache/0000000000000001", "fences/database/0000000000000001"));
}

TEST_F(Lease, HasNumbersThatOnlyGrow) {
  for (int i = 0; i < 3; ++i) take_on("one");
  EXPECT_THAT(names("fences/"), ElementsAre("fences/database/0000000000000003"));
  Lock::take(context(), prune_of("one"));
  EXPECT_THAT(names("fences/the.20repository/"), SizeIs(1));
}

TEST_F(Lease, LapsesByTheHoldersOwnClock) {
  LockRequest request = request_of("one");
  request.expiry = milliseconds(20);
  const auto lock = Lock::take(context(), request);
  wait_until([&] { return !lock->is_held(); });
  EXPECT_THAT(error_of([&] { lock->require(); }).what(), HasSubstr("not renewed in time"));
  EXPECT_NO_THROW(lock->require_newest());  // nobody has taken over
}

// A virtual machine that was halted: its own clock stood still.
TEST_F(Lease, LapsesByTheStoragesClock) {
  const auto lock = Lock::take(context(), request_of("one", milliseconds(1)));
  clocked_.pass(minutes(4) + std::chrono::seconds(1));
  wait_until([&] { return lock->problem().find("not renewed in time") != std::string::npos; });
  EXPECT_FALSE(lock->is_held());
  EXPECT_EQ(error_of([&] { lock->require(); }).kind(), ErrorKind::kLocked);
}

// ---- paused anywhere

// One host is paused before its n-th operation until its lock has expired, and another takes over.
TEST_F(Lease, OfOneThatSleptWhileTakingIsNotTakenTwice) {
  for (std::size_t n = 1;; ++n) {
    SCOPED_TRACE(n);
    std::unique_ptr<Lock> heir;
    storage::PausingStorage pausing(clocked_, n, [&] {
      clocked_.pass(minutes(6));
      heir = take_on("two");
    });
    std::unique_ptr<Lock> sleeper;
    const Context context = repository_.context_of(pausing);
    try {
      sleeper = Lock::take(context, request_of("one"));
    } catch (const base::Error&) {
    }
    if (!pausing.paused()) break;
    EXPECT_NO_THROW(heir->require());
    EXPECT_FALSE(sleeper) << "both have it";
  }
}

// The same, but the others have ended by then, and removed the numbers before theirs.
TEST_F(Lease, OfOneThatSleptOverSeveralOthersCountsOnlyIfItIsTheNewest) {
  for (std::size_t n = 1;; ++n) {
    SCOPED_TRACE(n);
    storage::PausingStorage pausing(clocked_, n, [&] {
      clocked_.pass(minutes(6));
      for (int i = 0; i < 3; ++i) take_on("two");
    });
    std::unique_ptr<Lock> sleeper;
    const Context context = repository_.context_of(pausing);
    try {
      sleeper = Lock::take(context, request_of("one"));
    } catch (const base::Error&) {
    }
    if (!pausing.paused()) break;
    if (sleeper) {
      EXPECT_NO_THROW(sleeper->require_newest());
    }
    sleeper.reset();
    EXPECT_NO_THROW(take_on("three"));
  }
}

TEST_F(Lease, AnOvertakenBackupPutsNoRecord) {
  const std::string old = take(1, sample_files(1));
  BackupRecord record = get_record(context(), old);
  const auto sleeper = take_on("one");
  const Index index = Index::load(context());
  clocked_.pass(minutes(6));
  { const auto heir = take_on("two"); }  // it has ended since
  record.summary.id = make_backup_id("test", context().clock.now() + minutes(3));
  const base::Error error = error_of([&] { publish_record(context(), record, index, *sleeper); });
  EXPECT_EQ(error.kind(), ErrorKind::kLocked);
  EXPECT_THAT(error.what(), HasSubstr("taken over"));
  EXPECT_FALSE(clocked_.stat(record_name(record.summary.id)));
}

// A prune is paused before its n-th operation; meanwhile another host prunes, and a backup is taken
// that needs what the first prune was about to remove.
TEST_F(Lease, AnOvertakenPruneDoesNoHarm) {
  std::size_t refused = 0;
  constexpr std::size_t kMoreThanARunTakes = 1000;
  for (std::size_t n = 1; n < kMoreThanARunTakes; ++n) {
    SCOPED_TRACE(n);
    files_.clear();
    const auto memory = storage::open_memory();
    storage::ClockedStorage clocked(*memory, StoppedClock().now());
    const Context healthy = repository_.context_of(clocked);
    const std::string old = take_sample_backup(healthy, 1, sample_files(1), 16 * 1024);
    files_[take_sample_backup(healthy, 2, sample_files(50), 16 * 1024)] = sample_files(50);
    clocked.pass(2 * kDay);

    storage::PausingStorage pausing(clocked, n, [&] {
      clocked.pass(minutes(6));
      const auto heir = Lock::take(healthy, prune_of("two"));
      base::NoProgress progress;
      prune(healthy, {.grace = {}}, *heir, progress, {});
      files_[take_sample_backup(healthy, 3, sample_files(1), 16 * 1024)] = sample_files(1);
    });
    const Context context = repository_.context_of(pausing);
    try {
      const auto lock = Lock::take(context, prune_of("one"));
      base::NoProgress progress;
      prune(context, {.backups = {old}, .grace = {}}, *lock, progress, {});
    } catch (const base::Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kLocked) << error.what();
      ++refused;
    }
    expect_all_whole(healthy);
    if (HasFailure() || !pausing.paused()) break;
  }
  EXPECT_GT(refused, 45u);
}

// ---- killed anywhere

// All operations from the n-th on fail, as if the process had been killed there; and the process
// that the lock names has ended.
TEST_F(Lease, OfAKilledOneIsTakenOverAtOnce) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  ProcessIdentity gone = ProcessIdentity::of_this_process();
  gone.pid = child;

  for (const bool after_effect : {false, true}) {
    for (std::size_t n = 1; n < 30; ++n) {
      SCOPED_TRACE(n);
      storage::Faults faults;
      storage::FaultStorage faulty(clocked_, faults);
      faults.arm({.at = n, .after_effect = after_effect, .from_then_on = true});
      LockRequest request = request_of("here", milliseconds(1));
      request.process = gone;
      const Context context = repository_.context_of(faulty);
      try {
        const auto lock = Lock::take(context, request);
        wait_until([&] { return faults.fired(); });
      } catch (const base::Error&) {
      }
      const std::uint64_t highest = list_fences(this->context(), "database").highest;
      request.process = ProcessIdentity::of_this_process();
      const auto heir = Lock::take(this->context(), request);
      EXPECT_NO_THROW(heir->require());
      EXPECT_EQ(list_fences(this->context(), "database").highest, highest + 1);
    }
  }
}

// ---- rights and requests

TEST_F(Lease, NeedsNoRightToRemove) {
  AppendOnly append_only(clocked_);
  const Context context = repository_.context_of(append_only);
  auto lock = Lock::take(context, request_of("one", milliseconds(1)));
  wait_until([&] { return names("locks/").size() >= 4; });
  EXPECT_EQ(lock->problem(), "");
  EXPECT_TRUE(lock->is_held());
  EXPECT_EQ(refusal_on("two").kind(), ErrorKind::kLocked);
  EXPECT_THAT(lock->release(), HasSubstr("marked as ended"));
  lock.reset();

  // It counts as ended at once, on other hosts too, with and without the right.
  EXPECT_NO_THROW(Lock::take(context, request_of("two")));
  EXPECT_NO_THROW(take_on("three"));
  EXPECT_THAT(names("locks/"), IsEmpty());
}

TEST_F(Lease, ThatWasRemovedHasNothingToSay) {
  const auto lock = take_on("one");
  EXPECT_EQ(lock->release(), "");
  EXPECT_THAT(names("locks/"), IsEmpty());
}

TEST_F(Lease, PassedNumbersAreRemovedByAPrune) {
  AppendOnly append_only(clocked_);
  const Context context = repository_.context_of(append_only);
  for (int i = 0; i < 3; ++i) Lock::take(context, request_of("one"));
  EXPECT_THAT(names("fences/"), SizeIs(3));
  run();
  EXPECT_THAT(names("fences/"), ElementsAre("fences/database/0000000000000003",
                                            "fences/the.20repository/0000000000000001"));
}

TEST_F(Lease, TakesFewRequests) {
  const auto other = take_on("elsewhere");
  storage::Recording recording;
  storage::RecordingStorage recorded(clocked_, recording);
  const Context context = repository_.context_of(recorded);
  LockRequest request = request_of("one");
  request.scope = "cache";
  auto lock = Lock::take(context, request);
  EXPECT_LE(recording.all().size(), 7u);  // one of them reads the other's lock
  recording.clear();
  EXPECT_NO_THROW(lock->require());
  EXPECT_EQ(recording.all().size(), 1u);
  lock.reset();

  request.heartbeat_interval = milliseconds(1);
  lock = Lock::take(context, request);
  wait_until([&] { return recording.count(Operation::kPut, "locks/") >= 10; });
  lock.reset();
  const std::size_t puts = recording.count(Operation::kPut, "locks/");
  EXPECT_LE(recording.all().size(), 3 * puts + 10);
}

}  // namespace
}  // namespace holdfast::repository
