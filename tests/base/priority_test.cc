#include "base/priority.h"

#include <gtest/gtest.h>
#include <linux/ioprio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

namespace holdfast::base {
namespace {

// In a thread of its own: the priority is the thread's, and cannot be raised again.
TEST(PriorityTest, IsLowerForTheThreadAndThoseThatItStarts) {
  int nice = 0;
  long disk = 0;
  std::thread([&] {
    ASSERT_TRUE(lower_priority());
    std::thread([&] {
      nice = ::getpriority(PRIO_PROCESS, 0);
      disk = ::syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
    }).join();
  }).join();
  EXPECT_GE(nice, 10);
  EXPECT_EQ(disk, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 7));
}

}  // namespace
}  // namespace holdfast::base
