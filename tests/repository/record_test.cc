#include "repository/record.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "fixture.h"
#include "repository/sealed_object.h"
#include "storage/damage.h"

namespace holdfast::repository {
namespace {

using base::ErrorKind;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

base::Time moment(std::string_view text) { return base::parse_time(text, {}).value(); }

BackupRecord make_record(std::string_view component, std::string_view started) {
  BackupRecord record;
  BackupSummary& summary = record.summary;
  summary.component = component;
  summary.started = moment(started);
  summary.id = make_backup_id(component, summary.started);
  summary.finished = summary.started + std::chrono::milliseconds(90'500);
  summary.type = "postgresql";
  summary.kind = "full";
  summary.bytes = 5'000'000'000;
  summary.bytes_read = 4'000'000'000;
  summary.bytes_stored = 1'000'000'000;
  summary.files = 1234;
  summary.details_key = "postgresql";
  summary.details_json = R"({"version":"15.5","system_id":"7300000000000000000"})";
  record.file_table.resize(2);
  record.file_table[0].bytes.fill(1);
  record.file_table[1].bytes.fill(2);
  record.indexes.resize(1);
  record.indexes[0].bytes.fill(3);
  return record;
}

class RecordTest : public testing::Test {
 protected:
  std::string put(std::string_view component, std::string_view started) {
    const BackupRecord record = make_record(component, started);
    EXPECT_EQ(put_record(repository.context(), record), storage::PutResult::kCreated);
    return record.summary.id;
  }
  std::string resolve(std::string_view text, std::string_view component = {}) {
    return resolve_backup(repository.context(), text, component);
  }
  ErrorKind error_kind_of_resolving(std::string_view text, std::string_view component = {}) {
    return error_of([&] { resolve(text, component); }).kind();
  }

  TestRepository repository;
};

TEST(BackupIdTest, IsComponentAndTime) {
  EXPECT_EQ(make_backup_id("database", moment("2024-01-17T02:00:00.9Z")),
            "database-20240117T020000Z");
  EXPECT_EQ(record_name("my-db.sales-20240229T235959Z"),
            "backups/my-db.sales/my-db.sales-20240229T235959Z");
  for (const std::string_view bad : {"", "-db", "DB", "a b", "a/b", "../a", "é"}) {
    EXPECT_EQ(error_of([&] { make_backup_id(bad, moment("2024-01-17")); }).kind(),
              ErrorKind::kUsage)
        << bad;
  }
}

TEST(BackupIdTest, AnythingElseIsNone) {
  EXPECT_TRUE(is_backup_id("a-20240117T020000Z"));
  EXPECT_TRUE(is_backup_id("a--b_c.d-20240229T020000Z"));
  for (const std::string_view bad :
       {"", "-20240117T020000Z", "20240117T020000Z", "a-20240117T020000", "a20240117T020000Z",
        "a-20240117t020000Z", "a-20240117T020000z", "a-20241317T020000Z", "a-20240230T020000Z",
        "a-20230229T020000Z", "a-20240117T240000Z", "a-20240117T026000Z", "a-20240117T020060Z",
        "a-2024011 T020000Z", "A-20240117T020000Z", "a/b-20240117T020000Z", "latest"}) {
    EXPECT_FALSE(is_backup_id(bad)) << bad;
  }
  EXPECT_FALSE(is_backup_id(std::string(300, 'a') + "-20240117T020000Z"));
}

TEST_F(RecordTest, AComponentsNameStandsForItsNewestBackup) {
  put("database", "2024-01-17T02:00:00Z");
  const std::string newest = put("database", "2024-01-18T02:00:00Z");
  put("database.shop", "2024-01-19T02:00:00Z");
  put("database-old", "2024-01-20T02:00:00Z");
  EXPECT_EQ(resolve("database"), newest);
  EXPECT_EQ(resolve("database", "database"), newest);
  EXPECT_EQ(error_kind_of_resolving("data"), ErrorKind::kUsage);
}

TEST_F(RecordTest, ComesBackAsItWas) {
  BackupRecord record = make_record("database", "2024-01-17T02:00:00Z");
  record.summary.job = "daily";
  record.summary.previous = "database-20240116T020000Z";
  record.summary.kind = "incremental";
  record.summary.warnings = {"base/5/16384: block 7 is broken", "odd name \xff"};
  ASSERT_EQ(put_record(repository.context(), record), storage::PutResult::kCreated);

  const BackupRecord again = get_record(repository.context(), record.summary.id);
  EXPECT_EQ(to_json(again.summary), to_json(record.summary));
  EXPECT_EQ(again.summary.previous, record.summary.previous);
  EXPECT_THAT(again.summary.warnings,
              ElementsAre(record.summary.warnings[0], HasSubstr("odd name")));
  EXPECT_EQ(json::parse(again.summary.details_json), json::parse(record.summary.details_json));
  EXPECT_EQ(again.file_table, record.file_table);
  EXPECT_EQ(again.indexes, record.indexes);
  EXPECT_EQ(put_record(repository.context(), record), storage::PutResult::kExists);
}

TEST_F(RecordTest, JsonIsThatOfTheInterface) {
  BackupSummary summary = make_record("database", "2024-01-17T02:00:00Z").summary;
  const json expected = json::parse(R"({
    "id": "database-20240117T020000Z", "component": "database", "type": "postgresql",
    "kind": "full", "job": null, "started": "2024-01-17T02:00:00Z",
    "finished": "2024-01-17T02:01:30.500Z", "duration_seconds": 90.5, "bytes": 5000000000,
    "bytes_read": 4000000000, "bytes_stored": 1000000000, "files": 1234,
    "postgresql": {"version": "15.5", "system_id": "7300000000000000000"}})");
  json actual = to_json(summary);
  EXPECT_EQ(moment(actual["finished"].get<std::string>()), summary.finished);
  actual["finished"] = expected["finished"];  // how many zeros it has does not matter
  EXPECT_EQ(actual, expected);

  summary.job = "daily";
  summary.details_key.clear();
  EXPECT_EQ(to_json(summary)["job"], "daily");
  EXPECT_FALSE(to_json(summary).contains("postgresql"));
}

TEST_F(RecordTest, RefusesBodiesThatAreNone) {
  const base::Bytes good = encode_record(make_record("database", "2024-01-17T02:00:00Z"));
  for (std::size_t size = 0; size < good.size(); ++size) {
    const base::Bytes cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(error_of([&] { decode_record(cut); }).kind(), ErrorKind::kDamaged) << size;
  }
  base::Bytes longer = good;
  longer.push_back(0);
  EXPECT_EQ(error_of([&] { decode_record(longer); }).kind(), ErrorKind::kDamaged);

  for (const std::string_view header :
       {"", "[]", "null", "{}", "{\"id\": 7}", "not json", "{\"id\": \"x\"", "[[[[[[[["}) {
    base::ByteWriter writer;
    writer.string(header);
    writer.varint(0);
    writer.varint(0);
    EXPECT_EQ(error_of([&] { decode_record(writer.view()); }).kind(), ErrorKind::kDamaged)
        << header;
  }
}

TEST_F(RecordTest, RefusesAWrongValueInAnyField) {
  const base::Bytes good = encode_record(make_record("database", "2024-01-17T02:00:00Z"));
  base::ByteReader reader(good, "record");
  const json header = json::parse(reader.string());
  for (const auto& field : header.items()) {
    if (field.key() == "duration_seconds") continue;  // follows from the times
    for (const json& wrong : {json(std::vector<int>{1}), json(true), json(-1), json("x")}) {
      json bad = header;
      bad[field.key()] = wrong;
      base::ByteWriter writer;
      writer.string(bad.dump());
      writer.varint(0);
      writer.varint(0);
      try {
        decode_record(writer.view());  // what fits the type is taken as it is
        EXPECT_EQ(wrong.type(),
                  field.value().is_null() ? json::value_t::string : field.value().type())
            << field.key() << wrong;
      } catch (const base::Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kDamaged) << field.key() << wrong;
      }
    }
  }
}

TEST_F(RecordTest, WhatIsNotThereIsNotFound) {
  for (const std::string_view id : {"database-20240117T020000Z", "nonsense", "../format"}) {
    const base::Error error = error_of([&] { get_record(repository.context(), id); });
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound) << id;
    EXPECT_THAT(error.what(), HasSubstr(std::string(id)));
  }
}

TEST_F(RecordTest, ARecordUnderAnothersIdIsDamaged) {
  const BackupRecord record = make_record("database", "2024-01-17T02:00:00Z");
  const std::string_view other = "database-20240118T020000Z";
  put_metadata(repository.context(), record_name(other), MetadataKind::kRecord,
               encode_record(record));
  EXPECT_EQ(error_of([&] { get_record(repository.context(), other); }).kind(), ErrorKind::kDamaged);
}

TEST_F(RecordTest, CatalogIsOldestFirstAndNamesDamage) {
  const std::string b = put("database", "2024-01-18T02:00:00Z");
  const std::string a = put("database", "2024-01-17T02:00:00Z");
  const std::string c = put("cache", "2024-01-17T12:00:00Z");
  const std::string d = put("database", "2024-01-19T02:00:00Z");
  storage::flip_bit(*repository.storage, record_name(d), 1000);
  repository.storage->put("backups/database/notes.txt", base::as_bytes("a stranger"));

  const Catalog all = list_backups(repository.context());
  std::vector<std::string> ids;
  for (const BackupSummary& summary : all.backups) ids.push_back(summary.id);
  EXPECT_THAT(ids, ElementsAre(a, c, b));
  ASSERT_EQ(all.damaged.size(), 2u);
  EXPECT_EQ(all.damaged[0].object, record_name(d));
  EXPECT_EQ(all.damaged[1].object, "backups/database/notes.txt");

  const Catalog caches = list_backups(repository.context(), "cache");
  ASSERT_EQ(caches.backups.size(), 1u);
  EXPECT_EQ(caches.backups[0].id, c);
  EXPECT_TRUE(caches.damaged.empty());
  EXPECT_TRUE(list_backups(repository.context(), "nothing").backups.empty());
}

TEST_F(RecordTest, NamesResolve) {
  EXPECT_EQ(error_kind_of_resolving("latest"), ErrorKind::kNotFound);
  const std::string a = put("database", "2024-01-17T02:00:00Z");
  const std::string b = put("database", "2024-02-18T02:00:00Z");
  const std::string c = put("cache", "2024-03-01T02:00:00Z");
  const std::string d = put("database2", "2024-01-01T02:00:00Z");
  EXPECT_EQ(resolve("latest"), c);
  EXPECT_EQ(resolve("latest", "database"), b);
  EXPECT_EQ(error_kind_of_resolving("latest", "nothing"), ErrorKind::kNotFound);
  EXPECT_EQ(resolve(a), a);
  EXPECT_EQ(resolve("database-202402"), b);
  EXPECT_EQ(resolve("c"), c);
  EXPECT_EQ(resolve("d", "database2"), d);
  EXPECT_EQ(error_kind_of_resolving("database-2024"), ErrorKind::kUsage);
  EXPECT_EQ(error_kind_of_resolving("database-2025"), ErrorKind::kNotFound);
  EXPECT_EQ(error_kind_of_resolving(a, "cache"), ErrorKind::kNotFound);
  EXPECT_EQ(error_kind_of_resolving(""), ErrorKind::kNotFound);
}

// Whoever asks for the latest backup is told that it is damaged, rather than given an older one.
TEST_F(RecordTest, ADamagedLatestIsStillTheLatest) {
  put("database", "2024-01-17T02:00:00Z");
  const std::string latest = put("database", "2024-01-18T02:00:00Z");
  storage::truncate_object(*repository.storage, record_name(latest), 10);
  EXPECT_EQ(resolve("latest"), latest);
  EXPECT_EQ(error_of([&] { get_record(repository.context(), latest); }).kind(),
            ErrorKind::kDamaged);
}

}  // namespace
}  // namespace holdfast::repository
