// What a prune asks of locks: who is at work, and since when by the storage's clock.
#include <gmock/gmock.h>

#include <thread>

#include "fixture.h"
#include "repository/lock.h"
#include "repository/lock_holder.h"
#include "repository/sealed_object.h"
#include "storage/clocked_storage.h"
#include "storage/damage.h"

namespace holdfast::repository {
namespace {

using std::chrono::minutes;

class HeldLocks : public testing::Test {
 protected:
  Context context() { return repository_.context_of(clocked_); }
  std::unique_ptr<Lock> take(std::string kind, std::chrono::milliseconds heartbeat = minutes(1)) {
    return Lock::take(context(), {.kind = std::move(kind), .heartbeat_interval = heartbeat});
  }
  std::vector<std::string> names() { return storage::names_in(*repository_.storage, "locks/"); }

  TestRepository repository_;
  // A host's clock that is a year ahead has no say.
  storage::ClockedStorage clocked_{*repository_.storage,
                                   StoppedClock().now() - std::chrono::hours(24 * 365)};
};

TEST_F(HeldLocks, AreSinceTheStoragesTime) {
  const base::Time then = clocked_.now() + base::Duration(1);
  const auto backup = take("backup");
  EXPECT_EQ(backup->since(), then);
  clocked_.pass(minutes(4));
  const auto prune = take("prune");
  const std::vector<HeldLock> others = prune->others();
  ASSERT_EQ(others.size(), 1u);
  EXPECT_EQ(others[0].kind, "backup");
  EXPECT_EQ(others[0].since, then);
  EXPECT_EQ(backup->others().at(0).kind, "prune");
}

TEST_F(HeldLocks, KeepTheirTimeOverHeartbeats) {
  const auto backup = take("backup", std::chrono::milliseconds(1));
  const base::Time then = backup->since();
  clocked_.pass(minutes(5));
  const std::string before = names().at(0);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (clocked_.stat(before)) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    std::this_thread::yield();
  }
  // One that is renewed all the time cannot be surveyed: a copy that stands still can.
  std::string renewed;
  std::optional<base::Bytes> body;
  while (!body) {
    renewed = names().back();
    body = get_metadata(context(), renewed, MetadataKind::kLock);
  }
  EXPECT_EQ(decode_lock(*body).since, then);
}

TEST_F(HeldLocks, CountUntilTheyExpire) {
  const auto silent = take("backup", std::chrono::hours(1));
  clocked_.pass(minutes(4));
  const auto early = Lock::take(context(), {.kind = "prune", .scope = "a"});
  EXPECT_EQ(early->others().size(), 1u);
  EXPECT_TRUE(silent->is_held());
  clocked_.pass(minutes(2));
  const auto late = Lock::take(context(), {.kind = "prune", .scope = "b"});
  EXPECT_EQ(late->others().size(), 1u);  // the early prune's alone
  EXPECT_FALSE(silent->is_held());       // the late one has removed it
}

TEST_F(HeldLocks, CountSinceEverWhereTheyAreDamaged) {
  const auto prune = take("prune");
  const auto backup = take("backup");
  for (const std::string& name : names()) {
    if (clocked_.stat(name)->modified == backup->since()) {
      base::Bytes content = storage::content_of(clocked_, name);
      content[100] ^= 1;
      clocked_.remove(name);
      clocked_.put(name, content);
    }
  }
  const std::vector<HeldLock> others = prune->others();
  ASSERT_EQ(others.size(), 1u);
  EXPECT_EQ(others[0].since, base::Time());
}

}  // namespace
}  // namespace holdfast::repository
