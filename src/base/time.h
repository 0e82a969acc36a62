// Moments, durations and sizes as users write them (see "Times" in the README), and the clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::base {

// A moment in UTC. PostgreSQL's own resolution.
using Time = std::chrono::sys_time<std::chrono::microseconds>;
using Duration = std::chrono::microseconds;

// Passed in wherever the time matters, so that tests can set it. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time now() const = 0;
};

class SystemClock final : public Clock {
 public:
  Time now() const override;
};

// RFC 3339 in UTC: "2024-01-17T12:00:00Z", with ".123456" only where it is not zero.
std::string format_time(Time time);
// "20240117T120000Z", as in backup ids.
std::string format_compact_time(Time time);

// RFC 3339 (any offset, fraction up to microseconds), "2024-01-17 12:00:00[.ffffff][Z|+hh[:mm]]",
// "2024-01-17", "now", "-90m", "-6h", "-2d". Without an offset: UTC. Nullopt for anything else
// ("latest" is the caller's business).
std::optional<Time> parse_time(std::string_view text, Time now);

// "90s 15m 6h 7d 4w 12mo 1y"; a month is 30 days, a year 365.
std::optional<Duration> parse_duration(std::string_view text);
// "512KiB 32MiB 1GB 4096": binary and decimal units.
std::optional<std::uint64_t> parse_size(std::string_view text);

std::string format_size(std::uint64_t size_bytes);  // "1.4 GiB"
std::string format_duration(Duration duration);     // "3.2 s", "4 min 10 s", "2 h 5 min", "3 d 4 h"

}  // namespace holdfast::base
