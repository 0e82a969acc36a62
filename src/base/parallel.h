// Independent pieces of work, shared out among threads.
#pragma once

#include <atomic>
#include <cstddef>
#include <stop_token>
#include <utility>

#include "base/concurrency.h"

namespace holdfast::base {

// Calls work(n) once for each n below `count`, on `threads` threads, of which each makes a `work`
// of its own with make_work(); one thread is the caller's. The first exception ends all and is
// thrown here; so does a stop.
template <typename MakeWork>
void share_out(std::size_t count, int threads, std::stop_token stop, MakeWork&& make_work) {
  if (threads <= 1) {
    auto work = make_work();
    for (std::size_t n = 0; n < count; ++n) {
      throw_if_stopped(stop);
      work(n);
    }
    return;
  }
  std::atomic<std::size_t> next = 0;
  WorkerGroup group(std::move(stop));
  for (int i = 0; i < threads; ++i) {
    group.start([&](std::stop_token stopped) {
      auto work = make_work();
      for (std::size_t n = next++; n < count; n = next++) {
        throw_if_stopped(stopped);
        work(n);
      }
    });
  }
  group.join();
}

}  // namespace holdfast::base
