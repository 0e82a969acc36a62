#include "storage/s3/pace.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>

namespace holdfast::storage::s3 {
namespace {

constexpr Pace::Milliseconds kFirst{100};
constexpr Pace::Milliseconds kLongest{10'000};
constexpr Pace::Milliseconds kFirstPause{50};
constexpr Pace::Milliseconds kLongestPause{5'000};
constexpr std::uint64_t kMostSecondsAskedFor = 60;

}  // namespace

Pace::Milliseconds Pace::jittered(Milliseconds most) {
  std::array<std::uint8_t, 4> bytes{};
  random_.fill(bytes);
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data(), bytes.size());
  return Milliseconds(1 +
                      static_cast<std::int64_t>(value) * most.count() / (std::int64_t{1} << 32));
}

Pace::Milliseconds Pace::before_repetition(int n) {
  return jittered(std::min(kLongest, kFirst * (1 << std::clamp(n - 1, 0, 10))));
}

Pace::Milliseconds Pace::asked_for(std::string_view retry_after) {
  std::uint64_t seconds = 0;
  const char* end = retry_after.data() + retry_after.size();
  const auto [stop, error] = std::from_chars(retry_after.data(), end, seconds);
  if (error != std::errc() || stop != end) return Milliseconds{0};
  return std::chrono::seconds(std::min(seconds, kMostSecondsAskedFor));
}

void Pace::slow_down() {
  auto pause = pause_.lock();
  *pause = std::clamp(*pause * 2, kFirstPause, kLongestPause);
}

void Pace::succeeded() {
  auto pause = pause_.lock();
  *pause = *pause * 9 / 10;
}

Pace::Milliseconds Pace::before_request() {
  const Milliseconds pause = *pause_.lock();
  return pause.count() == 0 ? pause : jittered(pause);
}

}  // namespace holdfast::storage::s3
