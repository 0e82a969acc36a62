// Incremental backups of a real server: what they build upon, how they find what changed, and what
// their audit finds.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>

#include "postgres/backup.h"
#include "postgres/backup_details.h"
#include "postgres/temporary_server.h"
#include "postgres/wal_archive.h"
#include "repository/fixture.h"
#include "repository/verify.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using repository::BackupSummary;

class IncrementalTest : public testing::Test {
 protected:
  void SetUp() override {
    HOLDFAST_NEED_SERVER();
    start_server({});
  }

  void start_server(const std::vector<std::string>& options) {
    server_ = std::make_unique<TemporaryServer>(options);
    server_->start(kSettings);
    server_->sql(
        "CREATE TABLE t AS SELECT g AS id, repeat(md5(g::text), 4) AS text "
        "FROM generate_series(1, 20000) g; VACUUM t; CHECKPOINT");
    request_.component = "database";
    request_.connection =
        fmt::format("host={} user=postgres dbname=postgres", server_->directory().string());
  }

  BackupSummary back_up(bool incremental) {
    request_.incremental = incremental;
    return take_backup(repository_.context(), request_, progress_, {});
  }

  fs::path file_of(const std::string& table) {
    std::string path = server_->sql("SELECT pg_relation_filepath('" + table + "')");
    while (path.ends_with('\n')) path.pop_back();
    return server_->data() / path;
  }

  // As a disk or a hand would, behind the server's back.
  void flip_a_byte(const fs::path& file, std::uint64_t offset) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(static_cast<std::streamoff>(offset));
    const auto byte = static_cast<char>(stream.get() ^ 1);
    stream.seekp(static_cast<std::streamoff>(offset));
    stream.put(byte);
    ASSERT_TRUE(stream.good());
  }

  static constexpr const char* kSettings =
      "archive_mode = on\narchive_command = 'true'\nwal_keep_size = 1GB\nfsync = off\nautovacuum = "
      "off\n";
  std::unique_ptr<TemporaryServer> server_;
  repository::TestRepository repository_;
  BackupRequest request_;
  base::NoProgress progress_;
};

TEST_F(IncrementalTest, ReadsWhatChangedAndIsWhole) {
  const BackupSummary full = back_up(false);
  server_->sql("UPDATE t SET text = 'changed' WHERE id = 10000");
  const BackupSummary incremental = back_up(true);
  const BackupDetails details = details_of(incremental);
  EXPECT_EQ(incremental.kind, "incremental");
  EXPECT_EQ(details.method, "change maps");
  EXPECT_TRUE(details.why_method.empty()) << details.why_method;
  EXPECT_LT(incremental.bytes_read * 2, full.bytes_read);
  EXPECT_LT(incremental.bytes_stored * 5, full.bytes_stored);
  EXPECT_GE(incremental.bytes, full.bytes);
  const auto report =
      repository::verify(repository_.context(), {.backups = {incremental.id}},
                         [](const auto&) { return std::vector<std::string>{}; }, progress_, {});
  EXPECT_TRUE(std::none_of(report.damaged.begin(), report.damaged.end(),
                           [](const auto& damage) { return damage.object.starts_with("packs/"); }));
}

TEST_F(IncrementalTest, IsFullWhereThereIsNothingToBuildUpon) {
  const BackupSummary first = back_up(true);
  EXPECT_EQ(first.kind, "full");
  EXPECT_NE(details_of(first).why_method.find("no backup"), std::string::npos);
}

TEST_F(IncrementalTest, LooksAtEveryPageWhereTheMapsHaveAGap) {
  back_up(false);
  server_->sql("UPDATE t SET text = 'changed' WHERE id % 100 = 0");
  // Segments that nobody archived, and that the server has recycled.
  for (int i = 0; i < 12; ++i)
    server_->sql("SELECT pg_switch_wal(); INSERT INTO t VALUES (1, 'x')");
  server_->sql("CHECKPOINT; CHECKPOINT");
  for (const auto& entry : fs::directory_iterator(server_->wal())) {
    if (entry.path().filename() < "000000010000000000000006") fs::remove_all(entry.path());
  }
  const BackupSummary incremental = back_up(true);
  const BackupDetails details = details_of(incremental);
  EXPECT_EQ(incremental.kind, "incremental");
  EXPECT_EQ(details.method, "page LSNs");
  EXPECT_FALSE(details.why_method.empty());
}

TEST_F(IncrementalTest, TheAuditFindsWhatTheWalDidNotTellOf) {
  back_up(false);
  const fs::path file = file_of("t");
  server_->stop();
  flip_a_byte(file, 20 * 8192 + 8000);  // in a tuple's text
  server_->start(kSettings);
  request_.audit_share = 1;
  const BackupSummary marked = back_up(true);
  EXPECT_EQ(marked.kind, "incremental");
  ASSERT_EQ(details_of(marked).audit_differences.size(), 1U);
  const std::string found = details_of(marked).audit_differences.front();
  EXPECT_NE(found.find("block 20 "), std::string::npos) << found;
  EXPECT_NE(found.find("(t in postgres)"), std::string::npos) << found;
  ASSERT_EQ(marked.warnings.size(), 1U);
  EXPECT_FALSE(details_of(marked).is_good());

  const BackupSummary next = back_up(true);
  EXPECT_EQ(next.kind, "full");
  EXPECT_NE(details_of(next).why_method.find("audit"), std::string::npos);
  EXPECT_EQ(back_up(true).kind, "incremental");
}

TEST_F(IncrementalTest, TheAuditTakesHintBitsForWhatTheyAre) {
  server_->sql("INSERT INTO t SELECT g, 'x' FROM generate_series(1, 20000) g; CHECKPOINT");
  back_up(false);
  server_->sql("SELECT count(*) FROM t; CHECKPOINT");  // sets them, without WAL
  request_.audit_share = 1;
  const BackupSummary incremental = back_up(true);
  EXPECT_TRUE(details_of(incremental).is_good());
  EXPECT_TRUE(incremental.warnings.empty());
}

TEST_F(IncrementalTest, AuditsAreSilentOnAllThatAServerDoes) {
  start_server({"--data-checksums"});
  server_->sql(
      "CREATE TABLE p AS SELECT g AS id, point(g, g) AS place FROM generate_series(1, 9999) g");
  for (const char* method : {"gist", "spgist"}) {
    server_->sql(fmt::format("CREATE INDEX ON p USING {} (place)", method));
  }
  server_->sql("CREATE SEQUENCE s");
  back_up(false);
  request_.audit_share = 1;
  for (const char* work :
       {"INSERT INTO p SELECT g, point(g, -g) FROM generate_series(1, 5000) g",
        "SELECT nextval('s') FROM generate_series(1, 100)", "DELETE FROM p WHERE id % 3 = 0",
        "SELECT count(*) FROM p WHERE place <@ box '(0,0),(9,9)'", "VACUUM p", "VACUUM FREEZE"}) {
    server_->sql(work);
    const BackupSummary incremental = back_up(true);
    EXPECT_EQ(incremental.kind, "incremental") << work;
    EXPECT_TRUE(incremental.warnings.empty()) << work << ": " << incremental.warnings.front();
  }
}

TEST_F(IncrementalTest, TheAuditGoesRound) {
  back_up(false);
  request_.audit_share = 0.25;
  std::uint64_t audited = 0;
  std::vector<std::string> places;
  for (int i = 0; i < 5; ++i) {
    const BackupDetails details = details_of(back_up(true));
    audited += details.audited_pages;
    places.push_back(fmt::format("{} {}", details.audit_next.path, details.audit_next.page));
  }
  EXPECT_NE(places[0], places[1]);
  EXPECT_NE(places[1], places[2]);
  EXPECT_GT(audited, 4 * fs::file_size(file_of("t")) / 8192 / 5);
}

}  // namespace
}  // namespace holdfast::postgres
