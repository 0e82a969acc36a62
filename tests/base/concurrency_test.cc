#include "base/concurrency.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <memory>

#include "base/error.h"

namespace holdfast::base {
namespace {

TEST(BoundedQueueTest, KeepsTheOrderAndDrainsAfterClose) {
  BoundedQueue<int> queue(4);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(queue.push(i, {}));
  queue.close();
  EXPECT_FALSE(queue.push(3, {}));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(queue.pop({}), i);
  EXPECT_EQ(queue.pop({}), std::nullopt);
}

TEST(BoundedQueueTest, TakesWhatCanOnlyBeMoved) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  EXPECT_TRUE(queue.push(std::make_unique<int>(7), {}));
  const auto item = queue.pop({});
  ASSERT_TRUE(item);
  EXPECT_EQ(**item, 7);
}

TEST(BoundedQueueTest, EveryItemArrivesOnceAndNeverMoreThanTheCapacityWait) {
  constexpr int kItems = 2000;
  constexpr int kProducers = 3;
  BoundedQueue<int> queue(5);
  std::atomic<int> waiting{0};
  std::atomic<int> producers_left{kProducers};
  Guarded<std::vector<int>> seen(static_cast<std::size_t>(kItems * kProducers), 0);
  WorkerGroup group;
  for (int p = 0; p < kProducers; ++p) {
    group.start([&, p](std::stop_token stop) {
      for (int i = 0; i < kItems; ++i) {
        if (!queue.push(p * kItems + i, stop)) throw Error(ErrorKind::kFailed, "push gave up");
        ++waiting;
      }
      if (--producers_left == 0) queue.close();
    });
  }
  std::atomic<int> most{0};
  for (int c = 0; c < 3; ++c) {
    group.start([&](std::stop_token stop) {
      while (const auto item = queue.pop(stop)) {
        const int now = waiting--;
        if (now > most) most = now;
        ++seen.lock()->at(static_cast<std::size_t>(*item));
      }
    });
  }
  group.join();
  EXPECT_LE(most, 5 + 3);  // in the queue, and taken by one of three consumers but not yet counted
  for (const int count : *seen.lock()) ASSERT_EQ(count, 1);
}

TEST(BoundedQueueTest, StopEndsWaitsForRoomAndForItems) {
  BoundedQueue<int> full(1);
  BoundedQueue<int> empty(1);
  ASSERT_TRUE(full.push(1, {}));
  std::stop_source stop;
  std::latch started(2);
  bool pushed = true;
  std::optional<int> popped = 1;
  {
    const std::jthread pusher([&] {
      started.count_down();
      pushed = full.push(2, stop.get_token());
    });
    const std::jthread popper([&] {
      started.count_down();
      popped = empty.pop(stop.get_token());
    });
    started.wait();
    stop.request_stop();
  }
  EXPECT_FALSE(pushed);
  EXPECT_FALSE(popped);
}

TEST(BoundedQueueTest, AfterAStopNothingIsHandedOut) {
  BoundedQueue<int> queue(2);
  ASSERT_TRUE(queue.push(1, {}));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(queue.pop(stop.get_token()), std::nullopt);
  EXPECT_FALSE(queue.push(2, stop.get_token()));
  EXPECT_EQ(queue.pop({}), 1);
}

TEST(BoundedQueueTest, CloseEndsWaits) {
  BoundedQueue<int> full(1);
  BoundedQueue<int> empty(1);
  ASSERT_TRUE(full.push(1, {}));
  bool pushed = true;
  std::optional<int> popped = 1;
  {
    const std::jthread pusher([&] { pushed = full.push(2, {}); });
    const std::jthread popper([&] { popped = empty.pop({}); });
    full.close();
    empty.close();
  }
  EXPECT_FALSE(pushed);
  EXPECT_FALSE(popped);
}

TEST(WorkerGroupTest, JoinWaitsForAll) {
  std::atomic<int> done{0};
  WorkerGroup group;
  for (int i = 0; i < 4; ++i) group.start([&](std::stop_token) { ++done; });
  group.join();
  EXPECT_EQ(done, 4);
  EXPECT_FALSE(group.token().stop_requested());
}

TEST(WorkerGroupTest, TheFirstFailureStopsTheOthersAndIsRethrown) {
  BoundedQueue<int> never(1);
  WorkerGroup group;
  for (int i = 0; i < 3; ++i) {
    group.start([&](std::stop_token stop) {
      never.pop(stop);
      throw_if_stopped(stop);
    });
  }
  group.start([](std::stop_token) { throw Error(ErrorKind::kNoSpace, "the disk is full"); });
  try {
    group.join();
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNoSpace);
  }
  EXPECT_TRUE(group.token().stop_requested());
  group.join();  // told once
}

TEST(WorkerGroupTest, ExceptionsOfOthersAreRethrownToo) {
  WorkerGroup group;
  group.start([](std::stop_token) { throw std::bad_alloc(); });
  EXPECT_THROW(group.join(), std::bad_alloc);
}

TEST(WorkerGroupTest, AStopOfTheParentStopsTheGroup) {
  std::stop_source parent;
  BoundedQueue<int> never(1);
  WorkerGroup group(parent.get_token());
  group.start([&](std::stop_token stop) {
    never.pop(stop);
    throw_if_stopped(stop);
  });
  parent.request_stop();
  try {
    group.join();
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInterrupted);
  }
}

TEST(WorkerGroupTest, AStopOfTheGroupLeavesTheParentAlone) {
  std::stop_source parent;
  WorkerGroup group(parent.get_token());
  group.request_stop();
  EXPECT_TRUE(group.token().stop_requested());
  EXPECT_FALSE(parent.stop_requested());
}

TEST(WorkerGroupTest, AParentThatStoppedBeforeStopsAtOnce) {
  std::stop_source parent;
  parent.request_stop();
  EXPECT_TRUE(WorkerGroup(parent.get_token()).token().stop_requested());
}

TEST(WorkerGroupTest, TheDestructorStopsAndJoins) {
  BoundedQueue<int> never(1);
  bool ended = false;
  {
    WorkerGroup group;
    group.start([&](std::stop_token stop) {
      never.pop(stop);
      ended = true;
      throw Error(ErrorKind::kFailed, "nobody hears this");
    });
  }
  EXPECT_TRUE(ended);
}

TEST(GuardedTest, CountsUnderItsLock) {
  Guarded<int> counter(0);
  WorkerGroup group;
  for (int i = 0; i < 4; ++i) {
    group.start([&](std::stop_token) {
      for (int n = 0; n < 1000; ++n) ++*counter.lock();
    });
  }
  group.join();
  EXPECT_EQ(*counter.lock(), 4000);
}

}  // namespace
}  // namespace holdfast::base
