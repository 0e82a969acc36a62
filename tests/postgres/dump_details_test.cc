#include "postgres/dump_details.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "repository/fixture.h"

namespace holdfast::postgres {
namespace {

using base::ErrorKind;
using repository::error_of;

TEST(DumpNamesTest, AFitNameIsItself) {
  EXPECT_EQ(dump_component("database", "tradingbot"), "database.tradingbot");
  EXPECT_EQ(dump_component("database", "a.b-c_9"), "database.a.b-c_9");
  EXPECT_EQ(dump_path("Trading Bot", DumpFormat::kCustom), "Trading Bot.dump");
  EXPECT_EQ(dump_path("shop", DumpFormat::kPlain), "shop.sql");
  EXPECT_EQ(dump_path("shop", DumpFormat::kDirectory), "shop");
}

TEST(DumpNamesTest, OthersAreMadeFitAndStayApart) {
  std::set<std::string> components;
  std::set<std::string> paths;
  const std::vector<std::string> names = {"Shop", "SHOP", "_shop", "-shop", ".",
                                          "..",   "a/b",  "a b",   "a\nb",  "ä",
                                          "..//", "../x", "a-b",   "-",     "globals"};
  for (const std::string& name : names) {
    const std::string component = dump_component("database", name);
    EXPECT_TRUE(repository::is_backup_id(repository::make_backup_id(component, {}))) << component;
    components.insert(component);
    const std::string path = dump_path(name, DumpFormat::kPlain);
    EXPECT_EQ(path.find_first_of("/\n"), std::string::npos) << path;
    EXPECT_NE(path, kGlobalsFile);
    paths.insert(path);
    const std::string directory = dump_path(name, DumpFormat::kDirectory);
    EXPECT_TRUE(directory != "." && directory != "..") << name;
  }
  EXPECT_EQ(components.size(), names.size());
  EXPECT_EQ(paths.size(), names.size());
  EXPECT_NE(dump_path("globals.sql", DumpFormat::kDirectory), kGlobalsFile);
}

TEST(DumpNamesTest, FormatsHaveTheNamesOfPgDump) {
  for (const char* name : {"custom", "plain", "directory"}) {
    EXPECT_EQ(name_of(parse_dump_format(name)), name);
  }
  EXPECT_EQ(error_of([] { parse_dump_format("tar"); }).kind(), ErrorKind::kUsage);
}

repository::BackupSummary summary_with(const std::string& details) {
  repository::BackupSummary summary;
  summary.id = "database.shop-20240117T120000Z";
  summary.type = kDumpType;
  summary.details_json = details;
  return summary;
}

TEST(DumpDetailsTest, ComeBackAsTheyWere) {
  DumpDetails details;
  details.database = "We \"ird\"\xff";
  details.format = DumpFormat::kDirectory;
  details.tables = {"public.*", "x"};
  details.version_num = 150018;
  details.server_version = "15.18";
  details.pg_dump_version = "17.2";
  details.snapshot_from = *base::parse_time("2024-01-17T12:00:00.25Z", {});
  details.snapshot_to = *base::parse_time("2024-01-17T12:00:00.5Z", {});
  details.path = "shop";
  details.globals = true;
  details.notes = {"pg_dump: warning: circular"};
  details.whole_next = true;
  const DumpDetails back = dump_details_of(summary_with(details_to_json(details)));
  EXPECT_EQ(back.format, details.format);
  EXPECT_EQ(back.tables, details.tables);
  EXPECT_EQ(back.version_num, details.version_num);
  EXPECT_EQ(back.server_version, details.server_version);
  EXPECT_EQ(back.pg_dump_version, details.pg_dump_version);
  EXPECT_EQ(back.snapshot_from, details.snapshot_from);
  EXPECT_EQ(back.snapshot_to, details.snapshot_to);
  EXPECT_EQ(back.path, details.path);
  EXPECT_TRUE(back.globals);
  EXPECT_EQ(back.notes, details.notes);
  EXPECT_TRUE(back.whole_next);
  details.whole_next = false;
  EXPECT_FALSE(dump_details_of(summary_with(details_to_json(details))).whole_next);
}

TEST(DumpDetailsTest, WhatIsNotRightIsDamage) {
  DumpDetails details;
  details.path = "shop.dump";
  const nlohmann::json good = nlohmann::json::parse(details_to_json(details));
  EXPECT_NO_THROW(dump_details_of(summary_with(good.dump())));
  std::vector<std::string> bad = {"", "[]", "{}", "null"};
  for (const auto& [key, value] : good.items()) {
    nlohmann::json without = good;
    without.erase(key);
    bad.push_back(without.dump());
    nlohmann::json other = good;
    other[key] = value.is_object() ? nlohmann::json(1) : nlohmann::json::object();
    bad.push_back(other.dump());
  }
  for (const char* path : {"", "..", "../x", "/etc/passwd", "a/b"}) {
    nlohmann::json other = good;
    other["path"] = path;
    bad.push_back(other.dump());
  }
  nlohmann::json format = good;
  format["format"] = "tar";
  bad.push_back(format.dump());
  for (const std::string& text : bad) {
    EXPECT_EQ(error_of([&] { dump_details_of(summary_with(text)); }).kind(), ErrorKind::kDamaged)
        << text;
  }
  repository::BackupSummary other_type = summary_with(good.dump());
  other_type.type = "files";
  EXPECT_EQ(error_of([&] { dump_details_of(other_type); }).kind(), ErrorKind::kDamaged);
}

}  // namespace
}  // namespace holdfast::postgres
