#include "base/priority.h"

#include <linux/ioprio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace holdfast::base {

bool lower_priority() {
  constexpr int kNice = 10;
  // The last of the best effort, not the idle class: that one may wait forever on a busy disk,
  // while the server keeps the WAL of the whole backup.
  constexpr int kLastOfBestEffort = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 7);
  const int nice = ::getpriority(PRIO_PROCESS, 0);
  const bool processor = nice >= kNice || ::setpriority(PRIO_PROCESS, 0, kNice) == 0;
  const bool disk = ::syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, kLastOfBestEffort) == 0;
  return processor && disk;
}

}  // namespace holdfast::base
