#include "repository/lock.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "fixture.h"
#include "repository/lock_holder.h"
#include "repository/sealed_object.h"
#include "storage/damage.h"
#include "storage/fault_storage.h"

namespace holdfast::repository {
namespace {

using base::ErrorKind;
using nlohmann::json;
using storage::Operation;
using testing::HasSubstr;
using testing::IsEmpty;

LockRequest backup_of(std::string scope) {
  return {.kind = "backup",
          .scope = std::move(scope),
          .exclusive_in_scope = true,
          .command = "holdfast backup"};
}
const LockRequest kVerify{.kind = "verify", .command = "holdfast verify"};
const LockRequest kPrune{
    .kind = "prune", .exclusive_in_repository = true, .command = "holdfast prune"};

// Shows objects whose names begin with `prefix` as older than they are.
class AgedStorage : public storage::Storage {
 public:
  AgedStorage(storage::Storage& inner, std::string prefix, base::Duration age)
      : inner_(inner), prefix_(std::move(prefix)), age_(age) {}
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
    inner_.list(prefix, [&](storage::ObjectInfo info) {
      if (info.name.starts_with(prefix_)) info.modified -= age_;
      each(info);
    });
  }
  bool remove(std::string_view name) override { return inner_.remove(name); }
  std::string describe() const override { return inner_.describe(); }

 private:
  storage::Storage& inner_;
  std::string prefix_;
  base::Duration age_;
};

// Waits for what another thread brings about; fails the test if it takes more than 20 s.
void wait_until(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "it did not come to pass";
    std::this_thread::yield();
  }
}

class LockTest : public testing::Test {
 protected:
  std::unique_ptr<Lock> take(const LockRequest& request) {
    return Lock::take(repository.context(), request);
  }
  base::Error refusal(const LockRequest& request) {
    return error_of([&] { take(request); });
  }
  std::vector<std::string> locks() { return storage::names_in(storage, "locks/"); }

  LockHolder holder_of(const std::string& name) {
    return decode_lock(get_metadata(repository.context(), name, MetadataKind::kLock).value());
  }

  // A prune's lock as a process with this identity would leave it.
  std::string put_lock_of(const ProcessIdentity& process) {
    LockHolder holder;
    holder.kind = "prune";
    holder.exclusive = true;
    holder.process = process;
    holder.taken = holder.heartbeat = repository.clock.now();
    holder.command = "holdfast prune";
    const std::string name = "locks/" + LockId::make(repository.random).hex();
    put_metadata(repository.context(), name, MetadataKind::kLock, encode_lock(holder));
    return name;
  }

  TestRepository repository;
  storage::Storage& storage = *repository.storage;
  const ProcessIdentity self = ProcessIdentity::of_this_process();
};

TEST_F(LockTest, IsHeldWhileItLives) {
  auto lock = take(kPrune);
  EXPECT_EQ(locks().size(), 1u);
  EXPECT_EQ(lock->problem(), "");
  lock.reset();
  EXPECT_THAT(locks(), IsEmpty());
  EXPECT_NO_THROW(take(kPrune));
}

TEST_F(LockTest, BackupsOfDifferentComponentsShare) {
  const auto database = take(backup_of("database"));
  const auto cache = take(backup_of("cache"));
  const auto verify = take(kVerify);
  const auto another_verify = take(kVerify);
  EXPECT_EQ(locks().size(), 4u);
  EXPECT_EQ(refusal(backup_of("database")).kind(), ErrorKind::kLocked);
  EXPECT_EQ(refusal(kPrune).kind(), ErrorKind::kLocked);
  EXPECT_EQ(locks().size(), 4u);  // who was refused left nothing
}

TEST_F(LockTest, PruneBearsNobody) {
  const auto prune = take(kPrune);
  for (const LockRequest& request : {kPrune, kVerify, backup_of("database")}) {
    EXPECT_EQ(refusal(request).kind(), ErrorKind::kLocked) << request.kind;
  }
}

TEST_F(LockTest, SaysWhoHoldsIt) {
  const auto prune = take(kPrune);
  const base::Error error = refusal(kVerify);
  EXPECT_THAT(error.what(), HasSubstr("holdfast prune"));
  EXPECT_THAT(error.what(), HasSubstr(self.host));
  EXPECT_THAT(error.what(), HasSubstr(std::to_string(::getpid())));
  EXPECT_THAT(error.what(), HasSubstr("2024-01-17T12:00:00"));
  EXPECT_FALSE(error.hint().empty());
}

TEST_F(LockTest, OfManyTakersAtOnceNoTwoSucceed) {
  constexpr int kRounds = 100;
  for (int round = 0; round < kRounds; ++round) {
    base::Guarded<std::vector<std::unique_ptr<Lock>>> taken;
    {
      std::vector<std::jthread> takers;
      for (int i = 0; i < 3; ++i) {
        takers.emplace_back([&] {
          try {
            auto lock = take(kPrune);
            taken.lock()->push_back(std::move(lock));
          } catch (const base::Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kLocked) << error.what();
          }
        });
      }
    }
    ASSERT_LE(taken.lock()->size(), 1u);
    taken.lock()->clear();
    ASSERT_THAT(locks(), IsEmpty());
  }
}

TEST_F(LockTest, HeartbeatPutsItAnew) {
  LockRequest request = kPrune;
  request.heartbeat_interval = std::chrono::milliseconds(1);
  const auto lock = take(request);
  std::set<std::string> seen;
  wait_until([&] {
    const auto names = locks();
    EXPECT_GE(names.size(), 1u);
    seen.insert(names.begin(), names.end());
    return seen.size() >= 4;
  });
  EXPECT_EQ(lock->problem(), "");
}

// However the listing falls between the put of the new object and the removal of the old one.
TEST_F(LockTest, ARenewedLockIsNeverOverlooked) {
  LockRequest request = kPrune;
  request.heartbeat_interval = std::chrono::milliseconds(1);
  const auto lock = take(request);
  for (int i = 0; i < 200; ++i) ASSERT_EQ(refusal(kPrune).kind(), ErrorKind::kLocked);
}

// The same, exactly: the first listing shows neither the old object nor the new one.
TEST_F(LockTest, ALockMissedByTheFirstListingIsFoundByTheSecond) {
  class Blinking final : public AgedStorage {
   public:
    Blinking(storage::Storage& inner, std::string hidden)
        : AgedStorage(inner, "none", {}), hidden_(std::move(hidden)) {}
    void list(std::string_view prefix,
              const std::function<void(const storage::ObjectInfo&)>& each) override {
      AgedStorage::list(prefix, [&](const storage::ObjectInfo& info) {
        if (listings_ > 0 || info.name != hidden_) each(info);
      });
      ++listings_;
    }

   private:
    std::string hidden_;
    int listings_ = 0;
  };

  const auto lock = take(kPrune);
  Blinking blinking(storage, locks().at(0));
  EXPECT_EQ(error_of([&] { Lock::take(repository.context_of(blinking), kVerify); }).kind(),
            ErrorKind::kLocked);
  EXPECT_EQ(locks().size(), 1u);
}

TEST_F(LockTest, AFailingHeartbeatIsToldAndTriedAgain) {
  storage::Faults faults;
  storage::FaultStorage faulty(storage, faults);
  const Context context = repository.context_of(faulty);
  LockRequest request = kPrune;
  request.heartbeat_interval = std::chrono::milliseconds(1);
  const auto lock = Lock::take(context, request);
  faults.arm({.at = 1, .from_then_on = true});
  wait_until([&] { return lock->problem().find("injected fault") != std::string::npos; });
  EXPECT_FALSE(locks().empty());
  EXPECT_EQ(refusal(kVerify).kind(), ErrorKind::kLocked);
  faults.disarm();
  wait_until([&] { return lock->problem().empty(); });
}

TEST_F(LockTest, ALockThatAnotherRemovedIsToldOf) {
  LockRequest request = kPrune;
  request.heartbeat_interval = std::chrono::milliseconds(1);
  const auto lock = take(request);
  wait_until([&] {
    for (const std::string& name : locks()) storage.remove(name);
    return lock->problem().find("removed") != std::string::npos;
  });
}

TEST_F(LockTest, AFailureWhileTakingLeavesNoLock) {
  for (const bool after_effect : {false, true}) {
    for (std::size_t n = 1;; ++n) {
      storage::Faults faults;
      storage::FaultStorage faulty(storage, faults);
      const Context context = repository.context_of(faulty);
      faults.arm({.at = n,
                  .after_effect = after_effect,
                  .operations = {Operation::kPut, Operation::kList}});
      try {
        Lock::take(context, kPrune);
      } catch (const base::Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kUnavailable);
      }
      EXPECT_THAT(locks(), IsEmpty()) << n;
      if (!faults.fired()) break;
    }
  }
}

// ---- locks that nobody holds any more

TEST_F(LockTest, OfAProcessThatHasEndedIsRemovedAtOnce) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  ProcessIdentity gone = self;
  gone.pid = child;
  const std::string name = put_lock_of(gone);
  const auto lock = take(kPrune);
  EXPECT_THAT(locks(), testing::Not(testing::Contains(name)));
}

TEST_F(LockTest, OfAKilledProcessThatNobodyHasWaitedForIsRemoved) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(0);
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), nullptr, WEXITED | WNOWAIT), 0);
  ProcessIdentity zombie = self;
  zombie.pid = child;
  EXPECT_TRUE(has_ended(zombie, self));
  ::waitpid(child, nullptr, 0);
}

TEST_F(LockTest, OfAnotherProcessWithTheSamePidIsRemoved) {
  ProcessIdentity earlier = self;
  earlier.pid_started -= 1;
  put_lock_of(earlier);
  EXPECT_NO_THROW(take(kPrune));
}

TEST_F(LockTest, OfALiveProcessIsHeldHoweverOldItsStart) {
  put_lock_of(self);
  EXPECT_EQ(refusal(kVerify).kind(), ErrorKind::kLocked);
  EXPECT_EQ(locks().size(), 1u);
}

TEST_F(LockTest, OfAnotherHostBootOrContainerIsHeldUntilItExpires) {
  ProcessIdentity host = self;
  host.host += "-other";
  ProcessIdentity boot = self;
  boot.boot_id = "00000000-0000-0000-0000-000000000000";
  ProcessIdentity container = self;
  container.pid_namespace = "pid:[1]";
  for (ProcessIdentity other : {host, boot, container}) {
    other.pid = 0x3fffffff;  // no such process here
    const std::string name = put_lock_of(other);
    const base::Error error = refusal(kVerify);
    EXPECT_EQ(error.kind(), ErrorKind::kLocked);
    EXPECT_THAT(error.hint(), HasSubstr("30 min"));

    AgedStorage younger(storage, name, std::chrono::minutes(29));
    EXPECT_THROW(Lock::take(repository.context_of(younger), kVerify), base::Error);
    AgedStorage older(storage, name, std::chrono::minutes(31));
    const Context context = repository.context_of(older);
    EXPECT_NO_THROW(Lock::take(context, kVerify));
    EXPECT_THAT(locks(), IsEmpty());
  }
}

TEST_F(LockTest, ADamagedOneIsHeldByEveryoneUntilItExpires) {
  const std::string name = put_lock_of(self);
  storage::flip_bit(storage, name, 700);
  const base::Error error = refusal(kVerify);
  EXPECT_EQ(error.kind(), ErrorKind::kLocked);
  EXPECT_THAT(error.what(), HasSubstr(name));
  AgedStorage older(storage, name, std::chrono::minutes(31));
  const Context context = repository.context_of(older);
  EXPECT_NO_THROW(Lock::take(context, kVerify));
  EXPECT_THAT(locks(), IsEmpty());
}

// ---- the body

TEST_F(LockTest, BodyHoldsWhatTheFormatSays) {
  const auto lock = take(backup_of("database"));
  const auto body = get_metadata(repository.context(), locks().at(0), MetadataKind::kLock);
  const json fields = json::parse(base::as_text(body.value()));
  EXPECT_EQ(fields["kind"], "backup");
  EXPECT_EQ(fields["scope"], "database");
  EXPECT_EQ(fields["exclusive"], true);
  EXPECT_EQ(fields["host"], self.host);
  EXPECT_EQ(fields["pid"], ::getpid());
  EXPECT_GT(fields["pid_started"], 0);
  EXPECT_THAT(fields["boot_id"].get<std::string>(), testing::SizeIs(36));
  EXPECT_THAT(fields["pid_namespace"].get<std::string>(), HasSubstr("pid:["));
  EXPECT_EQ(fields["command"], "holdfast backup");
  EXPECT_EQ(fields["expiry_ms"], 300'000);
  EXPECT_EQ(fields["fence"], 1);
  EXPECT_EQ(holder_of(locks().at(0)).taken, repository.clock.now());
}

// As the first version put them: they expire after 30 minutes.
TEST_F(LockTest, BodyWithoutTheLaterFieldsIsUnderstood) {
  json fields = json::parse(base::as_text(encode_lock(LockHolder())));
  fields.erase("expiry_ms");
  const LockHolder holder = decode_lock(base::as_bytes(fields.dump()));
  EXPECT_EQ(holder.expiry, std::chrono::minutes(30));
  EXPECT_EQ(holder.fence, 0u);
  EXPECT_FALSE(holder.ended);
  for (const std::int64_t expiry : {std::int64_t{-1}, INT64_MAX}) {
    fields["expiry_ms"] = expiry;
    EXPECT_LE(decode_lock(base::as_bytes(fields.dump())).expiry, std::chrono::minutes(30));
  }
}

TEST_F(LockTest, BodiesThatAreNoneAreRefused) {
  for (const std::string_view body : {"", "[]", "{}", "{\"kind\": 7}", "garbage"}) {
    EXPECT_EQ(error_of([&] { decode_lock(base::as_bytes(body)); }).kind(), ErrorKind::kDamaged)
        << body;
  }
}

}  // namespace
}  // namespace holdfast::repository
