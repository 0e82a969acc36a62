// SIGINT and SIGTERM ask the work to stop, so that it can leave a clean repository; a second one
// ends the process at once.
#pragma once

#include <stop_token>
#include <thread>

#include "base/file.h"

namespace holdfast::cli {

// One in a process, for its whole life.
class StopOnSignal {
 public:
  StopOnSignal();
  ~StopOnSignal();

  std::stop_token token() const { return stop_.get_token(); }

 private:
  void run();

  std::stop_source stop_;
  base::UniqueFd read_end_;
  base::UniqueFd write_end_;
  std::jthread thread_;
};

}  // namespace holdfast::cli
