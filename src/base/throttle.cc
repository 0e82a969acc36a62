#include "base/throttle.h"

#include <algorithm>

namespace holdfast::base {

RateSchedule::Moment RateSchedule::reserve(std::uint64_t bytes, Moment now) {
  const Moment begin = std::max(free_from_, now - kBurst);
  const std::chrono::duration<double> takes(static_cast<double>(bytes) /
                                            static_cast<double>(bytes_per_second_));
  free_from_ = begin + std::chrono::duration_cast<Moment::duration>(takes);
  return std::max(begin, now);
}

Throttle::Throttle(std::uint64_t bytes_per_second)
    : limited_(bytes_per_second != 0), schedule_(bytes_per_second) {}

void Throttle::take(std::uint64_t bytes, const std::stop_token& stop) {
  if (!limited_) return;
  wait_until(schedule_.lock()->reserve(bytes, std::chrono::steady_clock::now()), stop);
}

}  // namespace holdfast::base
