#include "base/throttle.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"

namespace holdfast::base {
namespace {

using namespace std::chrono_literals;

const RateSchedule::Moment kNow{1000h};

TEST(RateScheduleTest, LetsBytesGoAtTheRate) {
  RateSchedule schedule(1'000'000);
  RateSchedule::Moment now = kNow;
  for (int i = 0; i < 100; ++i) now = schedule.reserve(500'000, now);
  // 99 times half a second, of which the first burst was free.
  EXPECT_EQ(now - kNow, 99 * 500ms - RateSchedule::kBurst);
}

TEST(RateScheduleTest, PutsAllWhoAskAtOnceBehindOneAnother) {
  RateSchedule schedule(1'000);
  schedule.reserve(250, kNow);  // the burst
  EXPECT_EQ(schedule.reserve(1'000, kNow), kNow);
  EXPECT_EQ(schedule.reserve(1'000, kNow), kNow + 1s);
  EXPECT_EQ(schedule.reserve(1'000, kNow), kNow + 2s);
}

TEST(RateScheduleTest, APauseIsMadeGoodNoLongerThanTheBurst) {
  RateSchedule schedule(1'000);
  schedule.reserve(1'000, kNow);
  EXPECT_EQ(schedule.reserve(1'000, kNow + 1h), kNow + 1h);
  EXPECT_EQ(schedule.reserve(1'000, kNow + 1h), kNow + 1h + 1s - RateSchedule::kBurst);
}

TEST(ThrottleTest, HoldsThreadsToTheRateTogether) {
  Throttle throttle(1'000'000);
  const auto begin = std::chrono::steady_clock::now();
  WorkerGroup group;
  for (int i = 0; i < 4; ++i) {
    group.start([&](std::stop_token stop) {
      for (int n = 0; n < 10; ++n) throttle.take(15'000, stop);
    });
  }
  group.join();
  // 600 kB: all but the last piece and the burst are waited for.
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 600ms - 15ms - RateSchedule::kBurst);
}

TEST(ThrottleTest, DoesNotWaitWithoutARate) {
  Throttle throttle(0);
  for (int i = 0; i < 1000; ++i) throttle.take(std::uint64_t{1} << 60, {});
}

TEST(ThrottleTest, AStopEndsTheWait) {
  Throttle throttle(1);
  throttle.take(1'000'000, {});
  std::stop_source stop;
  std::jthread other([&] { stop.request_stop(); });
  try {
    throttle.take(1, stop.get_token());
    ADD_FAILURE() << "it did not wait";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInterrupted);
  }
}

}  // namespace
}  // namespace holdfast::base
