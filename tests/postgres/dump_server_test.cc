// Logical dumps of a real server: what is stored, and what never is.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "postgres/client_program.h"
#include "postgres/dump.h"
#include "postgres/temporary_server.h"
#include "repository/chunk_reader.h"
#include "repository/file_content.h"
#include "repository/fixture.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using base::ErrorKind;
using repository::BackupSummary;
using repository::error_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class NotedProgress final : public base::Progress {
 public:
  void phase(std::string_view, std::uint64_t) override {}
  void advance(std::uint64_t) override {}
  void note(std::string_view line) override { notes.emplace_back(line); }
  void warning(std::string_view line) override { warnings.emplace_back(line); }
  std::vector<std::string> notes;
  std::vector<std::string> warnings;
};

class DumpServerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    signal(SIGPIPE, SIG_IGN);
    if (!TemporaryServer::why_unavailable().empty()) return;
    server_ = new TemporaryServer();
    server_->start();
    server_->sql(
        "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS text FROM generate_series(1, 30000) g;"
        "CREATE TABLE u AS SELECT * FROM t WHERE id < 100;"
        "CREATE ROLE owner LOGIN; CREATE DATABASE theirs OWNER owner;"
        "SELECT lo_from_bytea(4711, '\\x00ff'), lo_from_bytea(4712, '')");
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }

  void SetUp() override {
    HOLDFAST_NEED_SERVER();
    scratch_ = server_->directory() / "scratch";
    fs::create_directories(scratch_);
    request_ = {.component = "database",
                .connection = fmt::format("host={} user=postgres dbname=template1",
                                          server_->directory().string()),
                .database = "postgres",
                .scratch = scratch_};
  }

  BackupSummary dump() { return take_dump(repository_.context(), request_, progress_, {}); }

  std::map<std::string, std::string> files_of(const BackupSummary& backup) {
    const repository::Context context = repository_.context();
    const auto record = repository::get_record(context, backup.id);
    const repository::Index index = repository::Index::load(context);
    repository::ChunkReader reader(context, index);
    std::map<std::string, std::string> files;
    repository::load_file_table(record.file_table, reader, [&](repository::FileEntry&& entry) {
      std::string& content = files[entry.path];
      if (entry.type != repository::FileType::kFile) return;
      EXPECT_EQ(entry.mode, 0600U);
      repository::read_content(entry, reader,
                               [&](base::ByteView piece) { content += base::as_text(piece); });
    });
    return files;
  }

  // A directory of programs in which one is a script of ours; $real is the one it stands for.
  void replace(const std::string& name, const std::string& script) {
    const fs::path directory = server_->directory() / "programs";
    fs::remove_all(directory);
    fs::create_directories(directory);
    const ClientPrograms real = ClientPrograms::find(kMajor);
    for (const char* program : {"pg_dump", "pg_dumpall", "pg_restore"}) {
      fs::create_symlink(real.path(program), directory / program);
    }
    fs::remove(directory / name);
    std::ofstream(directory / name)
        << "#!/bin/sh\nreal=" << real.path(name)
        << "\nif [ \"$1\" = --version ]; then exec $real --version; fi\n"
        << script << "\n";
    fs::permissions(directory / name, fs::perms::owner_all);
    request_.programs = directory;
  }

  void expect_nothing_stored(const std::string& why) {
    const base::Error error = error_of([&] { dump(); });
    EXPECT_EQ(error.kind(), ErrorKind::kFailed);
    EXPECT_THAT(error.what(), HasSubstr(why));
    EXPECT_THAT(repository::list_backups(repository_.context()).backups, IsEmpty());
    EXPECT_TRUE(fs::is_empty(scratch_));
  }

  static constexpr int kMajor = 15;
  static inline TemporaryServer* server_ = nullptr;
  fs::path scratch_;
  repository::TestRepository repository_;
  DumpRequest request_;
  NotedProgress progress_;
};

TEST_F(DumpServerTest, CustomIsWhatPgRestoreTakes) {
  const BackupSummary backup = dump();
  EXPECT_THAT(backup.id, HasSubstr("database.postgres-2024"));
  EXPECT_EQ(backup.type, "dump");
  EXPECT_EQ(backup.kind, "full");
  EXPECT_THAT(backup.warnings, IsEmpty());
  EXPECT_EQ(backup.files, 2U);
  const auto files = files_of(backup);
  ASSERT_EQ(files.size(), 2U);
  EXPECT_THAT(files.at("globals.sql"), HasSubstr("CREATE ROLE owner"));
  const fs::path file = server_->directory() / "given-back";
  std::ofstream(file, std::ios::binary) << files.at("postgres.dump");
  const std::string script = server_->run("pg_restore", {"-f", "-", file});
  EXPECT_THAT(script, HasSubstr("30000\t" + server_->sql("SELECT md5('30000')")));
  EXPECT_THAT(script, HasSubstr("4711"));
  EXPECT_EQ(backup.bytes, files.at("globals.sql").size() + files.at("postgres.dump").size());
}

TEST_F(DumpServerTest, KnowsOfWhichMomentItIs) {
  const auto now = [&] {
    return std::stoll(server_->sql("SELECT extract(epoch FROM now()) * 1000000"));
  };
  const std::int64_t before = now();
  const DumpDetails details = dump_details_of(dump());
  const std::int64_t after = now();
  const auto micros = [](base::Time time) { return std::int64_t{time.time_since_epoch().count()}; };
  EXPECT_LE(before, micros(details.snapshot_from));
  EXPECT_LE(details.snapshot_from, details.snapshot_to);
  EXPECT_LE(micros(details.snapshot_to), after);
  EXPECT_EQ(details.database, "postgres");
  EXPECT_EQ(details.version_num / 10000, kMajor);
  EXPECT_TRUE(details.globals);
}

TEST_F(DumpServerTest, PlainIsAScript) {
  request_.format = DumpFormat::kPlain;
  const auto files = files_of(dump());
  EXPECT_THAT(files.at("postgres.sql"), HasSubstr("PostgreSQL database dump complete"));
}

TEST_F(DumpServerTest, DirectoryIsDumpedInParallel) {
  request_.format = DumpFormat::kDirectory;
  request_.parallel = 3;
  const BackupSummary backup = dump();
  const auto files = files_of(backup);
  EXPECT_TRUE(files.contains("postgres"));
  EXPECT_TRUE(files.contains("postgres/toc.dat"));
  EXPECT_GE(files.size(), 6U);
  EXPECT_TRUE(fs::is_empty(scratch_));
}

TEST_F(DumpServerTest, TablesCanBeChosen) {
  request_.format = DumpFormat::kPlain;
  request_.tables = {"u"};
  const std::string script = files_of(dump()).at("postgres.sql");
  EXPECT_THAT(script, HasSubstr("CREATE TABLE public.u"));
  EXPECT_EQ(script.find("CREATE TABLE public.t"), std::string::npos);
  request_.tables = {"nothing_of_that_name"};
  const base::Error error = error_of([&] { dump(); });
  EXPECT_THAT(error.what(), HasSubstr("no matching tables were found"));
  for (const DumpFormat format :
       {DumpFormat::kPlain, DumpFormat::kCustom, DumpFormat::kDirectory}) {
    request_.format = format;
    request_.tables = {"u", "nothing_of_that_name"};  // one is there
    EXPECT_THAT(error_of([&] { dump(); }).what(), HasSubstr("nothing_of_that_name"));
  }
}

TEST_F(DumpServerTest, TheSecondStoresLittle) {
  const BackupSummary first = dump();
  const BackupSummary second = dump();
  EXPECT_EQ(second.previous, first.id);
  EXPECT_LT(second.bytes_stored * 2, first.bytes_stored);
}

TEST_F(DumpServerTest, WarningsOfASuccessAreNotes) {
  replace("pg_dump", "echo 'pg_dump: warning: circular' >&2; exec $real \"$@\"");
  const DumpDetails details = dump_details_of(dump());
  EXPECT_EQ(details.notes, std::vector<std::string>{"pg_dump: warning: circular"});
  EXPECT_EQ(progress_.notes, details.notes);
}

TEST_F(DumpServerTest, OneThatWasCutShortIsNeverStored) {
  replace("pg_dump", "$real \"$@\" | head -c 700000; exit 0");
  expect_nothing_stored("not whole");
  request_.format = DumpFormat::kPlain;
  expect_nothing_stored("not whole");
  replace("pg_dump", "exit 0");
  expect_nothing_stored("not whole");
  request_.format = DumpFormat::kCustom;
  expect_nothing_stored("not whole");
  request_.format = DumpFormat::kDirectory;
  expect_nothing_stored("not whole");
  replace("pg_dump", "$real \"$@\" && for f in " + scratch_.string() +
                         "/*/dump/*.dat; do case $f in */toc.dat) ;; *) rm $f; break;; esac; done");
  expect_nothing_stored("not whole");
}

TEST_F(DumpServerTest, ADirectoryThatLacksTheEndOfOneOfItsFilesIsNeverStored) {
  request_.format = DumpFormat::kDirectory;
  const auto spoil = [&](const std::string& commands) {
    replace("pg_dump", "$real \"$@\" && cd " + scratch_.string() + "/*/dump && (" + commands + ")");
  };
  // pg_restore has nothing against any of these.
  const std::string largest = "f=$(ls -S [0-9]*.dat | head -n 1); ";
  spoil(largest + "truncate -s 700000 $f");  // in the middle of a row, or between two
  expect_nothing_stored("dat has no end");
  spoil(largest + "truncate -s -1 $f");
  expect_nothing_stored("dat has no end");
  spoil(largest + "head -n -3 $f > x; mv x $f");  // all rows, but no end
  expect_nothing_stored("dat has no end");
  spoil(largest + ": > $f");
  expect_nothing_stored("dat has no end");
  spoil("truncate -s -1 blob_4711.dat");
  expect_nothing_stored("the large object 4711");
  spoil(": > blobs.toc");
  expect_nothing_stored("the large object 4711");
  spoil("sed -i /4712/d blobs.toc");
  expect_nothing_stored("the large object 4712");
  spoil("truncate -s -1 blobs.toc");
  expect_nothing_stored("blobs.toc has no end");
  spoil(":");
  dump();
  request_.tables = {"u"};  // without the large objects
  dump();
}

TEST_F(DumpServerTest, AnEndThatOnlyLooksLikeOneIsNone) {
  server_->sql("CREATE DATABASE ends");
  request_.database = "ends";
  request_.format = DumpFormat::kDirectory;
  server_->run("psql", {"-h", server_->directory(), "-U", "postgres", "-d", "ends", "-qc",
                        "CREATE TABLE e (t text); INSERT INTO e VALUES ('\\.'), (''), ('')"});
  dump();
  replace("pg_dump", "$real \"$@\" && cd " + scratch_.string() +
                         "/*/dump && for f in [0-9]*.dat; do head -c 6 $f > x; mv x $f; done");
  const base::Error error = error_of([&] { dump(); });
  EXPECT_THAT(error.what(), HasSubstr("dat has no end"));
  server_->sql("DROP DATABASE ends");
}

TEST_F(DumpServerTest, OneThatFailedOrWasKilledIsNeverStored) {
  replace("pg_dump", "$real \"$@\"; echo 'no more' >&2; exit 1");
  expect_nothing_stored("pg_dump failed (exit status 1): no more");
  replace("pg_dump", "$real \"$@\" | head -c 700000; kill -KILL $$");
  expect_nothing_stored("pg_dump was killed by signal 9");
  request_.format = DumpFormat::kPlain;
  expect_nothing_stored("pg_dump was killed by signal 9");
  request_.format = DumpFormat::kDirectory;
  expect_nothing_stored("pg_dump was killed by signal 9");
  request_.programs.clear();
  request_.format = DumpFormat::kCustom;
  dump();  // the next run is good
}

TEST_F(DumpServerTest, AStopEndsIt) {
  replace("pg_dump", "sleep 600");
  std::stop_source source;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    source.request_stop();
  });
  const base::Error error =
      error_of([&] { take_dump(repository_.context(), request_, progress_, source.get_token()); });
  EXPECT_EQ(error.kind(), ErrorKind::kInterrupted);
}

TEST_F(DumpServerTest, AnOwnerWithoutOtherRightsGetsTheRolesWithoutPasswords) {
  request_.connection = fmt::format("host={} user=owner", server_->directory().string());
  request_.database = "theirs";
  const BackupSummary backup = dump();
  ASSERT_EQ(backup.warnings.size(), 1U);
  EXPECT_THAT(backup.warnings.front(), HasSubstr("without their passwords"));
  EXPECT_THAT(files_of(backup).at("globals.sql"), HasSubstr("CREATE ROLE owner"));
  request_.database = "postgres";
  const base::Error error = error_of([&] { dump(); });
  EXPECT_THAT(error.what(), HasSubstr("permission denied"));
}

TEST_F(DumpServerTest, WithoutGlobalsItIsGoodAndSaysSo) {
  replace("pg_dumpall", "$real \"$@\" | head -c 100");
  const BackupSummary backup = dump();
  ASSERT_EQ(backup.warnings.size(), 1U);
  EXPECT_FALSE(dump_details_of(backup).globals);
  EXPECT_FALSE(files_of(backup).contains("globals.sql"));
}

TEST_F(DumpServerTest, ADatabaseMayBeCalledLikeAConnectionString) {
  for (const char* name : {"a=b", "host=x dbname='y'", "postgresql://x/y", "o'ne\\"}) {
    server_->sql("CREATE DATABASE \"" + std::string(name) + '"');
    request_.database = name;
    request_.format = DumpFormat::kDirectory;
    request_.parallel = 2;
    const BackupSummary backup = dump();
    EXPECT_THAT(backup.warnings, IsEmpty()) << name;
    EXPECT_THAT(files_of(backup).at("globals.sql"), HasSubstr("CREATE ROLE owner")) << name;
    server_->sql("DROP DATABASE \"" + std::string(name) + '"');
  }
}

TEST_F(DumpServerTest, RefusesWhatCannotBe) {
  request_.parallel = 2;
  EXPECT_EQ(error_of([&] { dump(); }).kind(), ErrorKind::kUsage);
  request_.parallel = 1;
  request_.tables = {""};
  EXPECT_EQ(error_of([&] { dump(); }).kind(), ErrorKind::kUsage);
  request_.tables = {};
  request_.database = "";
  EXPECT_EQ(error_of([&] { dump(); }).kind(), ErrorKind::kUsage);
  request_.database = "postgres";
  request_.component = std::string(250, 'x');
  EXPECT_EQ(error_of([&] { dump(); }).kind(), ErrorKind::kUsage);
  request_.component = "database";
  request_.database = "nosuch";
  EXPECT_THAT(error_of([&] { dump(); }).what(), HasSubstr("nosuch"));
}

}  // namespace
}  // namespace holdfast::postgres
