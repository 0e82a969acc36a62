#include "base/time.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <span>

namespace holdfast::base {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::year;

// Four-digit years: what RFC 3339 can say. A time out of a file may be anything, so printing
// clamps.
constexpr Time kFirstTime = sys_days(year(0) / 1 / 1);
constexpr Time kLastTime = sys_days(year(10'000) / 1 / 1) - microseconds(1);

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::array<Unit, 7> kDurationUnits{{
    {"s", 1},
    {"m", 60},
    {"h", 3600},
    {"d", 86'400},
    {"w", 7ull * 86'400},
    {"mo", 30ull * 86'400},
    {"y", 365ull * 86'400},
}};
constexpr std::uint64_t kMaxDurationSeconds = 10'000ull * 365 * 86'400;

constexpr std::array<Unit, 13> kSizeUnits{{
    {"", 1},
    {"B", 1},
    {"KiB", 1ull << 10},
    {"MiB", 1ull << 20},
    {"GiB", 1ull << 30},
    {"TiB", 1ull << 40},
    {"PiB", 1ull << 50},
    {"kB", 1'000},
    {"KB", 1'000},
    {"MB", 1'000'000},
    {"GB", 1'000'000'000},
    {"TB", 1'000'000'000'000},
    {"PB", 1'000'000'000'000'000},
}};

// NUMBER UNIT, nothing between; nullopt if the product is more than `max`.
std::optional<std::uint64_t> parse_with_unit(std::string_view text, std::span<const Unit> units,
                                             std::uint64_t max) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest == text.data()) return std::nullopt;
  const std::string_view name(rest, static_cast<std::size_t>(end - rest));
  const auto unit =
      std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == name; });
  if (unit == units.end() || number > max / unit->factor) return std::nullopt;
  return number * unit->factor;
}

// Takes the parts of a time off the front of a text. After a mismatch every answer is "no".
class TimeScanner {
 public:
  explicit TimeScanner(std::string_view text) : rest_(text) {}

  bool ok() const { return ok_; }
  bool at_end() const { return rest_.empty(); }

  // Exactly `count` digits, of a value in [min, max].
  int digits(std::size_t count, int min, int max) {
    int value = 0;
    if (rest_.size() < count) return fail();
    for (const char c : rest_.substr(0, count)) {
      if (c < '0' || c > '9') return fail();
      value = value * 10 + (c - '0');
    }
    rest_.remove_prefix(count);
    return value < min || value > max ? fail() : value;
  }

  bool take_if(std::string_view any_of) {
    if (rest_.empty() || any_of.find(rest_.front()) == std::string_view::npos) return false;
    rest_.remove_prefix(1);
    return true;
  }

  void expect(std::string_view any_of) {
    if (!take_if(any_of)) fail();
  }

  // One to six digits of a fraction of a second.
  microseconds fraction() {
    const std::size_t count = std::min(rest_.find_first_not_of("0123456789"), rest_.size());
    if (count < 1 || count > 6) return microseconds(fail());
    int value = digits(count, 0, 999'999);
    for (std::size_t i = count; i < 6; ++i) value *= 10;
    return microseconds(value);
  }

  // Z, +hh, +hh:mm, or nothing for UTC.
  minutes offset() {
    if (take_if("Zz") || at_end()) return minutes(0);
    const bool west = take_if("-");
    if (!west) expect("+");
    minutes offset = hours(digits(2, 0, 23));
    if (take_if(":")) offset += minutes(digits(2, 0, 59));
    return west ? -offset : offset;
  }

 private:
  int fail() {
    ok_ = false;
    rest_ = {};
    return 0;
  }

  std::string_view rest_;
  bool ok_ = true;
};

std::optional<Time> parse_calendar_time(std::string_view text) {
  TimeScanner scan(text);
  const year year{scan.digits(4, 0, 9999)};
  scan.expect("-");
  const std::chrono::month month(static_cast<unsigned>(scan.digits(2, 1, 12)));
  scan.expect("-");
  const std::chrono::day day(static_cast<unsigned>(scan.digits(2, 1, 31)));
  const std::chrono::year_month_day date = year / month / day;
  if (!scan.ok() || !date.ok()) return std::nullopt;
  Time time = sys_days(date);
  if (scan.at_end()) return time;

  scan.expect("Tt ");
  time += hours(scan.digits(2, 0, 23));
  scan.expect(":");
  time += minutes(scan.digits(2, 0, 59));
  scan.expect(":");
  time += seconds(scan.digits(2, 0, 59));
  if (scan.take_if(".")) time += scan.fraction();
  time -= scan.offset();
  if (!scan.ok() || !scan.at_end()) return std::nullopt;
  return time;
}

struct Fields {
  std::chrono::year_month_day date;
  std::chrono::hh_mm_ss<microseconds> clock;
};

Fields fields_of(Time time) {
  time = std::clamp(time, kFirstTime, kLastTime);
  const auto day = std::chrono::floor<days>(time);
  return {std::chrono::year_month_day(day), std::chrono::hh_mm_ss<microseconds>(time - day)};
}

}  // namespace

Time SystemClock::now() const {
  return std::chrono::floor<microseconds>(std::chrono::system_clock::now());
}

std::string format_time(Time time) {
  const auto [date, clock] = fields_of(time);
  std::string text =
      fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                  static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                  clock.hours().count(), clock.minutes().count(), clock.seconds().count());
  if (clock.subseconds().count() != 0) text += fmt::format(".{:06}", clock.subseconds().count());
  return text + "Z";
}

std::string format_compact_time(Time time) {
  const auto [date, clock] = fields_of(time);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

std::optional<Time> parse_time(std::string_view text, Time now) {
  if (text == "now") return now;
  if (!text.starts_with('-')) return parse_calendar_time(text);
  const std::optional<Duration> ago = parse_duration(text.substr(1));
  if (!ago) return std::nullopt;
  return now - *ago;
}

std::optional<Duration> parse_duration(std::string_view text) {
  const auto count = parse_with_unit(text, kDurationUnits, kMaxDurationSeconds);
  if (!count) return std::nullopt;
  return seconds(static_cast<std::int64_t>(*count));
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  return parse_with_unit(text, kSizeUnits, std::numeric_limits<std::uint64_t>::max());
}

std::string format_size(std::uint64_t size_bytes) {
  constexpr std::array<std::string_view, 6> kNames{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (size_bytes < 1024) return fmt::format("{} B", size_bytes);
  double value = static_cast<double>(size_bytes) / 1024;
  std::size_t unit = 0;
  // 1023.95 would be printed as 1024.0.
  for (; value >= 1023.95 && unit + 1 < kNames.size(); ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, kNames[unit]);
}

std::string format_duration(Duration duration) {
  if (duration < Duration::zero()) {
    return "-" + format_duration(duration == Duration::min() ? Duration::max() : -duration);
  }
  const std::int64_t milliseconds = duration / std::chrono::milliseconds(1);
  if (milliseconds < 1000) return fmt::format("{} ms", milliseconds);
  if (milliseconds < 59'950)
    return fmt::format("{:.1f} s", static_cast<double>(milliseconds) / 1000);
  const std::int64_t total = milliseconds / 1000 + (milliseconds % 1000 >= 500 ? 1 : 0);
  if (total < 3600) return fmt::format("{} min {} s", total / 60, total % 60);
  if (total < 86'400) return fmt::format("{} h {} min", total / 3600, total / 60 % 60);
  return fmt::format("{} d {} h", total / 86'400, total / 3600 % 24);
}

}  // namespace holdfast::base
