#include "postgres/backup_label.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "postgres/temporary_server.h"

namespace holdfast::postgres {
namespace {

constexpr const char* kSample =
    "START WAL LOCATION: 16/2000028 (file 000000030000001600000002)\n"
    "CHECKPOINT LOCATION: 16/2000060\n"
    "BACKUP METHOD: streamed\n"
    "BACKUP FROM: standby\n"
    "START TIME: 2024-01-17 12:00:00 UTC\n"
    "LABEL: holdfast database-20240117T120000Z\n"
    "START TIMELINE: 3\n";

std::string without_line(const std::string& name) {
  std::string text = kSample;
  const std::size_t at = text.find(name);
  return text.erase(at, text.find('\n', at) + 1 - at);
}

std::string with(const std::string& from, const std::string& to) {
  std::string text = kSample;
  return text.replace(text.find(from), from.size(), to);
}

TEST(BackupLabel, IsRead) {
  const BackupLabel label = parse_backup_label(kSample);
  EXPECT_EQ(label.start, 0x16'02000028U);
  EXPECT_EQ(label.start_file, "000000030000001600000002");
  EXPECT_EQ(label.checkpoint, 0x16'02000060U);
  EXPECT_EQ(label.timeline, 3U);
  EXPECT_EQ(label.label, "holdfast database-20240117T120000Z");
  EXPECT_TRUE(label.from_standby);
  EXPECT_FALSE(parse_backup_label(with("standby", "primary")).from_standby);
}

TEST(BackupLabel, RefusesOneThatLacksALine) {
  for (const char* name : {"START WAL", "CHECKPOINT", "LABEL", "START TIMELINE"}) {
    EXPECT_THROW(parse_backup_label(without_line(name)), base::Error) << name;
  }
  EXPECT_NO_THROW(parse_backup_label(without_line("BACKUP METHOD")));
  EXPECT_NO_THROW(parse_backup_label(without_line("BACKUP FROM")));
}

TEST(BackupLabel, RefusesMalformedLines) {
  const std::pair<const char*, const char*> changes[] = {{"16/2000028 ", "16-2000028 "},
                                                         {" (file ", " ("},
                                                         {"000000030000001600000002)", ")"},
                                                         {"00000002)", "00000002"},
                                                         {"00000002)", "0002)"},
                                                         {"16/2000060", ""},
                                                         {"TIMELINE: 3", "TIMELINE: 0"},
                                                         {"TIMELINE: 3", "TIMELINE: 3x"}};
  for (const auto& [from, to] : changes) {
    EXPECT_THROW(parse_backup_label(with(from, to)), base::Error) << from << " → " << to;
  }
  EXPECT_THROW(parse_backup_label(""), base::Error);
  EXPECT_THROW(parse_backup_label(std::string(100'000, '\n')), base::Error);
}

TEST(BackupLabelOfAServer, IsRead) {
  HOLDFAST_NEED_SERVER();
  TemporaryServer server;
  server.start();
  const std::string out = server.sql(
      "SELECT pg_backup_start('a label', true);\n"
      "SELECT labelfile FROM pg_backup_stop(false);\n");
  const std::size_t first_line_end = out.find('\n');
  const BackupLabel label = parse_backup_label(out.substr(first_line_end + 1));
  EXPECT_EQ(label.start, parse_lsn(out.substr(0, first_line_end)));
  EXPECT_GT(label.checkpoint, label.start);
  EXPECT_EQ(parse_segment_name(label.start_file, kDefaultSegmentSize)->number,
            segment_number(label.start, kDefaultSegmentSize));
  EXPECT_EQ(label.timeline, 1U);
  EXPECT_EQ(label.label, "a label");
  EXPECT_FALSE(label.from_standby);
}

}  // namespace
}  // namespace holdfast::postgres
