#include "base/time.h"

#include <gtest/gtest.h>

#include <limits>

namespace holdfast::base {
namespace {

using namespace std::chrono_literals;

constexpr Time kNow = std::chrono::sys_days(std::chrono::year(2024) / 1 / 17) + 12h;

TEST(TimeTest, ParsesEveryFormInTheContract) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"2024-01-17T12:00:00Z", "2024-01-17T12:00:00Z"},
      {"2024-01-17t12:00:00z", "2024-01-17T12:00:00Z"},
      {"2024-01-17T12:00:00.5Z", "2024-01-17T12:00:00.500000Z"},
      {"2024-01-17T12:00:00.000001Z", "2024-01-17T12:00:00.000001Z"},
      {"2024-01-17T12:00:00.123456+00:00", "2024-01-17T12:00:00.123456Z"},
      {"2024-01-17T12:00:00+05:30", "2024-01-17T06:30:00Z"},
      {"2024-01-17T01:00:00+02:00", "2024-01-16T23:00:00Z"},
      {"2024-01-17T12:00:00-03:30", "2024-01-17T15:30:00Z"},
      {"2024-01-17 12:00:00", "2024-01-17T12:00:00Z"},
      {"2024-01-17 12:00:00.25", "2024-01-17T12:00:00.250000Z"},
      {"2024-01-17 12:00:00Z", "2024-01-17T12:00:00Z"},
      {"2024-01-17 12:00:00.123456+02", "2024-01-17T10:00:00.123456Z"},
      {"2024-01-17 12:00:00-08", "2024-01-17T20:00:00Z"},
      {"2024-01-17", "2024-01-17T00:00:00Z"},
      {"2024-02-29", "2024-02-29T00:00:00Z"},
      {"1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"},
      {"0000-01-01", "0000-01-01T00:00:00Z"},
      {"9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"},
      {"now", "2024-01-17T12:00:00Z"},
      {"-90m", "2024-01-17T10:30:00Z"},
      {"-6h", "2024-01-17T06:00:00Z"},
      {"-2d", "2024-01-15T12:00:00Z"},
      {"-30s", "2024-01-17T11:59:30Z"},
  };
  for (const auto& [text, expected] : cases) {
    const auto time = parse_time(text, kNow);
    ASSERT_TRUE(time) << text;
    EXPECT_EQ(format_time(*time), expected) << text;
  }
}

TEST(TimeTest, RefusesAnythingElse) {
  for (const std::string_view text : {"",
                                      "latest",
                                      "Now",
                                      "-",
                                      "-6",
                                      "-h",
                                      "--6h",
                                      "- 6h",
                                      "6h",
                                      "2024",
                                      "2024-01",
                                      "2024-1-17",
                                      "24-01-17",
                                      "2024-13-01",
                                      "2024-00-01",
                                      "2024-01-00",
                                      "2024-01-32",
                                      "2023-02-29",
                                      "2024-04-31",
                                      "1900-02-29",
                                      "2024-01-17T",
                                      "2024-01-17T12",
                                      "2024-01-17T12:00",
                                      "2024-01-17T24:00:00",
                                      "2024-01-17T12:60:00",
                                      "2024-01-17T12:00:60",
                                      "2024-01-17T12:00:00.",
                                      "2024-01-17T12:00:00.Z",
                                      "2024-01-17T12:00:00.1234567Z",
                                      "2024-01-17T12:00:00ZZ",
                                      "2024-01-17T12:00:00+",
                                      "2024-01-17Z",
                                      "2024-01-17T12:00:00+2",
                                      "2024-01-17T12:00:00+02:",
                                      "2024-01-17T12:00:00+24:00",
                                      "2024-01-17T12:00:00+02:60",
                                      "2024-01-17T12:00:00 +02",
                                      "2024-01-17  12:00:00",
                                      " 2024-01-17",
                                      "2024-01-17 ",
                                      "2024/01/17",
                                      "+024-01-17",
                                      "-024-01-17",
                                      "2024-01-17x12:00:00",
                                      "99999-01-01",
                                      "1705492800",
                                      "-99999999999999999999d",
                                      "-9999999999y"}) {
    EXPECT_FALSE(parse_time(text, kNow)) << text;
  }
}

TEST(TimeTest, FormatsCompactly) {
  EXPECT_EQ(format_compact_time(kNow + 999999us), "20240117T120000Z");
  EXPECT_EQ(format_compact_time(Time(-1us)), "19691231T235959Z");
}

TEST(TimeTest, AnyNumberOutOfAFileCanBeFormatted) {
  EXPECT_EQ(format_time(Time(Duration::max())), "9999-12-31T23:59:59.999999Z");
  EXPECT_EQ(format_time(Time(Duration::min())), "0000-01-01T00:00:00Z");
  EXPECT_EQ(format_compact_time(Time(Duration::min())), "00000101T000000Z");
}

TEST(TimeTest, SystemClockIsTheWallClock) {
  const Time before = std::chrono::floor<Duration>(std::chrono::system_clock::now());
  const Time now = SystemClock().now();
  EXPECT_GE(now, before);
  EXPECT_LE(now, before + 1min);
}

TEST(DurationTest, Parses) {
  EXPECT_EQ(parse_duration("90s"), 90s);
  EXPECT_EQ(parse_duration("15m"), 15min);
  EXPECT_EQ(parse_duration("6h"), 6h);
  EXPECT_EQ(parse_duration("7d"), 7 * 24h);
  EXPECT_EQ(parse_duration("4w"), 28 * 24h);
  EXPECT_EQ(parse_duration("12mo"), 360 * 24h);
  EXPECT_EQ(parse_duration("1y"), 365 * 24h);
  EXPECT_EQ(parse_duration("0s"), 0s);
  for (const std::string_view text : {"", "s", "5", "-5s", "+5s", "5 s", " 5s", "5s ", "5S", "5ms",
                                      "5M", "1.5h", "1h30m", "99999999999999999999s", "10001y"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(SizeTest, Parses) {
  EXPECT_EQ(parse_size("4096"), 4096u);
  EXPECT_EQ(parse_size("0"), 0u);
  EXPECT_EQ(parse_size("12B"), 12u);
  EXPECT_EQ(parse_size("512KiB"), 512u * 1024);
  EXPECT_EQ(parse_size("32MiB"), 32u * 1024 * 1024);
  EXPECT_EQ(parse_size("1GB"), 1'000'000'000u);
  EXPECT_EQ(parse_size("2TiB"), 2ull << 40);
  EXPECT_EQ(parse_size("18446744073709551615"), std::numeric_limits<std::uint64_t>::max());
  for (const std::string_view text : {"", "B", "KiB", "-1", "+1", "1.5GiB", "1 GB", "1K", "1kib",
                                      "1GiBs", "18446744073709551616", "16384PiB", "0x10"}) {
    EXPECT_FALSE(parse_size(text)) << text;
  }
}

TEST(SizeTest, Formats) {
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_size(1023), "1023 B");
  EXPECT_EQ(format_size(1024), "1.0 KiB");
  EXPECT_EQ(format_size(1536), "1.5 KiB");
  EXPECT_EQ(format_size(1024 * 1024 - 1), "1.0 MiB");
  EXPECT_EQ(format_size(1'500'000'000), "1.4 GiB");
  EXPECT_EQ(format_size(std::numeric_limits<std::uint64_t>::max()), "16.0 EiB");
}

TEST(DurationTest, Formats) {
  EXPECT_EQ(format_duration(0s), "0 ms");
  EXPECT_EQ(format_duration(12'900us), "12 ms");
  EXPECT_EQ(format_duration(3200ms), "3.2 s");
  EXPECT_EQ(format_duration(59'949ms), "59.9 s");
  EXPECT_EQ(format_duration(59'950ms), "1 min 0 s");
  EXPECT_EQ(format_duration(250s), "4 min 10 s");
  EXPECT_EQ(format_duration(3599'600ms), "1 h 0 min");
  EXPECT_EQ(format_duration(125min), "2 h 5 min");
  EXPECT_EQ(format_duration(76h), "3 d 4 h");
  EXPECT_EQ(format_duration(-250s), "-4 min 10 s");
  EXPECT_TRUE(format_duration(Duration::min()).starts_with("-106751991 d"));
}

}  // namespace
}  // namespace holdfast::base
