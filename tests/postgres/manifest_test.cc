#include "postgres/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "crypto/hash.h"
#include "postgres/crc32c.h"
#include "postgres/temporary_server.h"

namespace holdfast::postgres {
namespace {

using base::as_bytes;
using testing::HasSubstr;
using testing::Not;

base::Time at(std::int64_t seconds) { return base::Time{std::chrono::seconds{seconds}}; }

std::vector<ManifestFile> sample_files() {
  return {
      {.path = "backup_label", .size_bytes = 227, .modified = at(1705492800), .crc = 0x12AB34CD},
      {.path = "base/5/1259", .size_bytes = 0, .modified = at(0) + base::Duration{999'999}}};
}

TEST(BackupManifest, LooksAsPostgresWritesIt) {
  const std::string body =
      "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n"
      "\"Files\": [\n"
      "{ \"Path\": \"backup_label\", \"Size\": 227, \"Last-Modified\": \"2024-01-17 12:00:00 "
      "GMT\", "
      "\"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"cd34ab12\" },\n"
      "{ \"Path\": \"base/5/1259\", \"Size\": 0, \"Last-Modified\": \"1970-01-01 00:00:00 GMT\", "
      "\"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"00000000\" }\n"
      "],\n"
      "\"WAL-Ranges\": [\n"
      "{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000100\" },\n"
      "{ \"Timeline\": 2, \"Start-LSN\": \"0/2000100\", \"End-LSN\": \"1/0\" }\n"
      "],\n";
  const std::string hash = base::to_hex(crypto::sha256(as_bytes(body)));
  EXPECT_EQ(make_backup_manifest(16, 7, sample_files(),
                                 {{1, 0x2000028, 0x2000100}, {2, 0x2000100, 0x1'00000000}}),
            body + "\"Manifest-Checksum\": \"" + hash + "\"}\n");
}

TEST(BackupManifest, NamesTheSystemFromVersion17) {
  const std::string manifest =
      make_backup_manifest(17, 18'000'000'000'000'000'000U, sample_files(), {});
  EXPECT_THAT(manifest, HasSubstr("{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n"
                                  "\"System-Identifier\": 18000000000000000000,\n\"Files\": ["));
  EXPECT_THAT(make_backup_manifest(16, 7, {}, {}), Not(HasSubstr("System-Identifier")));
}

TEST(BackupManifest, EscapesPathsAndEncodesThoseThatAreNotUtf8) {
  const auto path_line = [](std::string path) {
    const std::string manifest = make_backup_manifest(15, 1, {{.path = std::move(path)}}, {});
    const std::size_t begin = manifest.find('[') + 4;
    return manifest.substr(begin, manifest.find(", \"Size\"") - begin);
  };
  EXPECT_EQ(path_line("a\"b\\c\n"), R"("Path": "a\"b\\c\u000a")");
  for (const char* path : {"ö", "€", "\xF0\x9F\x98\x80", "\xED\x9F\xBF", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_EQ(path_line(path), std::string{"\"Path\": \""} + path + "\"");
  }
  EXPECT_EQ(path_line("a\xFF"), "\"Encoded-Path\": \"61ff\"");
  for (const char* path :
       {"\x80", "\xC3", "\xC0\xAF", "\xC3(", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF0\x80\x80\x80",
        "\xF4\x90\x80\x80", "\xE2\x82", "\xF5\x80\x80\x80"}) {
    EXPECT_THAT(path_line(path), HasSubstr("Encoded-Path"));
  }
}

// From the server's own manifest, its very bytes; and from the files, one that its judge accepts.
class ManifestOfAServer : public testing::Test {
 protected:
  void SetUp() override {
    HOLDFAST_NEED_SERVER();
    server_.emplace();
    server_->start();
    backup_ = server_->directory() / "backup";
    server_->run("pg_basebackup", {"-h", server_->directory(), "-U", "postgres", "-D", backup_,
                                   "--no-sync", "--checkpoint=fast"});
    text_ = base::read_text_file(backup_ / "backup_manifest", 64 << 20);
    json_ = nlohmann::json::parse(text_);
    for (const auto& range : json_["WAL-Ranges"]) {
      ranges_.push_back({range["Timeline"], *parse_lsn(range["Start-LSN"].get<std::string>()),
                         *parse_lsn(range["End-LSN"].get<std::string>())});
    }
    version_ = std::stoi(base::read_text_file(backup_ / "PG_VERSION", 16));
    system_id_ = json_.value("System-Identifier", std::uint64_t{0});
  }

  std::optional<TemporaryServer> server_;
  std::filesystem::path backup_;
  std::string text_;
  nlohmann::json json_;
  std::vector<ManifestWalRange> ranges_;
  int version_ = 0;
  std::uint64_t system_id_ = 0;
};

TEST_F(ManifestOfAServer, IsWrittenByteForByte) {
  std::vector<ManifestFile> files;
  for (const auto& file : json_["Files"]) {
    std::array<std::uint8_t, 4> crc{};
    ASSERT_TRUE(base::from_hex(file["Checksum"].get<std::string>(), crc));
    std::string modified = file["Last-Modified"];
    modified.resize(modified.size() - 4);  // " GMT"
    files.push_back({.path = file["Path"],
                     .size_bytes = file["Size"],
                     .modified = base::parse_time(modified, {}).value(),
                     .crc = base::ByteReader(crc, "crc").u32()});
  }
  ASSERT_GT(files.size(), 900U);
  EXPECT_EQ(make_backup_manifest(version_, system_id_, files, ranges_), text_);
}

TEST_F(ManifestOfAServer, SatisfiesPgVerifybackup) {
  std::vector<ManifestFile> files;
  for (const auto& file : json_["Files"]) {
    const std::string path = file["Path"];
    const base::Bytes content = base::read_file(backup_ / path, 64 << 20);
    files.push_back({.path = path, .size_bytes = content.size(), .crc = crc32c(0, content)});
  }
  const auto judge = [&] {
    std::ofstream(backup_ / "backup_manifest")
        << make_backup_manifest(version_, system_id_, files, ranges_);
    return server_->try_run("pg_verifybackup", {"--exit-on-error", backup_});
  };
  const base::ProcessResult accepted = judge();
  EXPECT_EQ(accepted.exit_status, 0) << accepted.out << accepted.err;
  files[files.size() / 2].crc ^= 1;
  EXPECT_NE(judge().exit_status, 0);
}

}  // namespace
}  // namespace holdfast::postgres
