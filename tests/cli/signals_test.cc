#include "cli/signals.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <future>

namespace holdfast::cli {
namespace {

TEST(StopOnSignal, AsksTheWorkToStop) {
  StopOnSignal signals;
  std::promise<void> stopped;
  const std::stop_callback told(signals.token(), [&] { stopped.set_value(); });
  ASSERT_FALSE(signals.token().stop_requested());
  ::raise(SIGTERM);
  EXPECT_EQ(stopped.get_future().wait_for(std::chrono::seconds(60)), std::future_status::ready);
  // The next one would end the process at once.
  struct sigaction action {};
  ::sigaction(SIGTERM, nullptr, &action);
  EXPECT_EQ(action.sa_handler, SIG_DFL);
}

TEST(StopOnSignal, LeavesAnIgnoredInterruptIgnored) {
  ::signal(SIGINT, SIG_IGN);
  {
    const StopOnSignal signals;
    ::raise(SIGINT);
    EXPECT_FALSE(signals.token().stop_requested());
  }
  ::signal(SIGINT, SIG_DFL);
}

}  // namespace
}  // namespace holdfast::cli
