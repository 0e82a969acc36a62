// Keeps what several threads do together below a rate.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>

#include "base/concurrency.h"

namespace holdfast::base {

// When the next bytes may go, for a rate and what went before. After a pause at most the burst's
// time of it may be made good.
class RateSchedule {
 public:
  using Moment = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::milliseconds kBurst{250};

  explicit RateSchedule(std::uint64_t bytes_per_second) : bytes_per_second_(bytes_per_second) {}

  // From when on these bytes may go; those that are asked for later come behind them.
  Moment reserve(std::uint64_t bytes, Moment now);

 private:
  std::uint64_t bytes_per_second_;
  Moment free_from_{};
};

// Thread-safe.
class Throttle {
 public:
  explicit Throttle(std::uint64_t bytes_per_second);  // 0: as fast as it goes

  // Waits until the bytes may go. Throws Error(kInterrupted) if a stop is asked for meanwhile.
  void take(std::uint64_t bytes, const std::stop_token& stop);

 private:
  const bool limited_;
  Guarded<RateSchedule> schedule_;
};

}  // namespace holdfast::base
