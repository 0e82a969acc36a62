// A restore over what is there gives what a restore into an empty directory gives, whatever was
// there, and however often it was killed on the way.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "postgres/backup.h"
#include "postgres/killing_files.h"
#include "postgres/restore.h"
#include "postgres/restore_target.h"
#include "postgres/running_server.h"
#include "postgres/temporary_server.h"
#include "repository/fixture.h"
#include "storage/child.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::size_t kManyBytes = 1 << 30;
// What every restore writes: pg_control, and the settings without those of the recovery.
constexpr std::uint64_t kAlwaysWritten = 16 * 1024;

void write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

// Every file, directory and link with its rights and content, in a line each.
std::string tree(const fs::path& root) {
  std::map<std::string, std::string> lines;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string path = entry.path().lexically_relative(root);
    struct stat status {};
    ::lstat(entry.path().c_str(), &status);
    std::string content;
    if (entry.is_symlink()) {
      content = fs::read_symlink(entry.path());
    } else if (entry.is_regular_file()) {
      content = base::to_hex(crypto::sha256(base::read_file(entry.path(), kManyBytes)));
    }
    lines[path] = fmt::format("{} {:o} {} {}\n", path, status.st_mode, status.st_uid, content);
  }
  std::string result;
  for (const auto& [path, line] : lines) result += line;
  return result;
}

struct Damage {
  std::string name;
  std::function<void()> apply;
  std::uint64_t written = kManyBytes;  // at most
};

class DeltaRestoreTest : public testing::Test {
 protected:
  void SetUp() override {
    HOLDFAST_NEED_SERVER();
    server_ = std::make_unique<TemporaryServer>();
    server_->start("archive_mode = on\narchive_command = 'true'\n");
    server_->sql(
        "CREATE TABLE t AS SELECT g AS id, repeat(md5(g::text), 8) AS text "
        "FROM generate_series(1, 20000) g");
    relation_ = trimmed(server_->sql("SELECT pg_relation_filepath('t')"));
    backup_ = back_up();
    pristine_ = server_->directory() / "pristine";
    to_ = server_->directory() / "to";
    outside_ = server_->directory() / "outside";
    restore(backup_, pristine_, false);
    expected_ = tree(pristine_);
  }

  static std::string trimmed(std::string text) {
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }

  std::string back_up() {
    BackupRequest request;
    request.component = "database";
    request.connection =
        fmt::format("host={} user=postgres dbname=postgres", server_->directory().string());
    return take_backup(repository_.context(), request, progress_, {}).id;
  }

  RestoreResult restore(const std::string& id, const fs::path& to, bool delta) {
    const RestorePlan plan =
        plan_restore(repository_.context(), "database",
                     {.kind = RestoreTarget::Kind::kEndOfBackup, .backup = id});
    return restore_cluster(repository_.context(), plan,
                           {.to = to, .restore_command = "false", .delta = delta}, progress_, {});
  }

  RestoreResult restore_over() { return restore(backup_, to_, true); }

  void copy(const fs::path& from) {
    fs::remove_all(to_);
    server_->run("cp", {"-a", from, to_});
  }

  std::vector<Damage> damages_of_content();
  std::vector<Damage> damages_of_the_tree();

  std::unique_ptr<TemporaryServer> server_;
  repository::TestRepository repository_;
  base::NoProgress progress_;
  std::string backup_;
  std::string relation_;  // base/5/16384
  fs::path pristine_;
  fs::path to_;
  fs::path outside_;  // a directory that has nothing to do with it
  std::string expected_;
};

// Of the content of files.
std::vector<Damage> DeltaRestoreTest::damages_of_content() {
  const fs::path relation = to_ / relation_;
  const std::uint64_t size = fs::file_size(pristine_ / relation_);
  return {{"nothing", [] {}, kAlwaysWritten},
          {"pages",
           [=] {
             const base::UniqueFd fd = base::open_file(relation, O_WRONLY);
             for (const std::uint64_t page : {0, 7, 8, 300}) {
               base::write_at(fd.get(), page * 8192 + 100, base::as_bytes("damage"), relation);
             }
           },
           kAlwaysWritten + 4 * 8192},
          {"a file truncated", [=] { fs::resize_file(relation, size - 20'000); },
           kAlwaysWritten + (5U << 20)},
          {"a file emptied", [=] { fs::resize_file(relation, 0); }},
          {"a file longer", [=] { fs::resize_file(relation, size + 100'000); }, kAlwaysWritten},
          {"a file deleted", [=] { fs::remove(relation); }, kAlwaysWritten + size},
          {"a directory deleted", [=] { fs::remove_all(relation.parent_path()); }}};
}

// Of what stands where.
std::vector<Damage> DeltaRestoreTest::damages_of_the_tree() {
  const fs::path relation = to_ / relation_;
  return {{"a file that is a directory",
           [=, this] {
             fs::remove(to_ / "PG_VERSION");
             fs::create_directories(to_ / "PG_VERSION" / "deep");
           }},
          {"a directory that is a file",
           [=, this] {
             fs::remove_all(to_ / "pg_xact");
             write(to_ / "pg_xact", "no directory");
           }},
          {"a link to a file elsewhere",
           [=, this] {
             fs::remove(relation);
             fs::create_symlink(outside_ / "precious", relation);
           }},
          {"a file with another name elsewhere",
           [=, this] {
             fs::remove(relation);
             fs::create_hard_link(outside_ / "precious", relation);
           }},
          {"directories that are links",
           [=, this] {
             for (const char* name : {"global", "pg_wal"}) {
               fs::remove_all(to_ / name);
               fs::create_directory_symlink(outside_, to_ / name);
             }
           }},
          {"rights",
           [=, this] {
             ::chmod(relation.c_str(), 0400);
             ::chmod((to_ / "PG_VERSION").c_str(), 0666);
             ::chmod((to_ / "pg_xact").c_str(), 0000);
             ::chmod(to_.c_str(), 0755);
           }},
          {"strangers",
           [=, this] {
             fs::create_directories(to_ / "base" / "99999" / "deep");
             write(to_ / "base" / "99999" / "deep" / "1", "1");
             write(to_ / "base" / "5" / "99999", "no relation");
             write(to_ / "standby.signal", "");
             write(to_ / "pg_wal" / "0000000100000000000000FE", "of another time");
             write(to_ / "pg_wal" / "archive_status" / "0000000100000000000000FE.ready", "");
             fs::create_directory_symlink(outside_, to_ / "elsewhere");
             fs::create_directory_symlink(outside_, to_ / "pg_tblspc" / "99999");
           },
           kAlwaysWritten},
          {"a lock file of a server that is gone",
           [=, this] { write(to_ / "postmaster.pid", "999999999\n"); }, kAlwaysWritten},
          {"a lock file that names another's process",
           [=, this] { write(to_ / "postmaster.pid", fmt::format("{}\n", ::getpid())); },
           kAlwaysWritten}};
}

TEST_F(DeltaRestoreTest, MendsWhateverHappened) {
  fs::create_directory(outside_);
  write(outside_ / "precious", "precious");
  std::vector<Damage> damages = damages_of_content();
  for (Damage& damage : damages_of_the_tree()) damages.push_back(std::move(damage));
  for (const Damage& damage : damages) {
    SCOPED_TRACE(damage.name);
    copy(pristine_);
    damage.apply();
    EXPECT_LE(restore_over().bytes_written, damage.written);
    EXPECT_EQ(tree(to_), expected_);
    EXPECT_EQ(base::read_text_file(outside_ / "precious", 100), "precious");
    server_->run("pg_verifybackup", {to_.string()});
  }
}

TEST_F(DeltaRestoreTest, GoesToAnotherBackupAndBack) {
  server_->sql(
      "DELETE FROM t WHERE id % 50 = 0; CREATE TABLE u AS SELECT * FROM t; VACUUM FULL t;"
      "TRUNCATE u; INSERT INTO u SELECT * FROM t LIMIT 100; CHECKPOINT");
  const std::string later = back_up();
  const fs::path pristine = server_->directory() / "later";
  restore(later, pristine, false);
  copy(pristine_);
  for (int round = 0; round < 2; ++round) {
    restore(later, to_, true);
    EXPECT_EQ(tree(to_), tree(pristine));
    restore(backup_, to_, true);
    EXPECT_EQ(tree(to_), expected_);
  }
}

TEST_F(DeltaRestoreTest, TakesTheDirectoryOfAServerThatCrashed) {
  server_->sql("INSERT INTO t SELECT g, 'new' FROM generate_series(1, 5000) g");
  copy(server_->data());  // as it runs, with its lock file
  const std::uint64_t total = restore_over().bytes;
  EXPECT_EQ(tree(to_), expected_);
  EXPECT_LT(restore_over().bytes_written, total / 10);
}

TEST_F(DeltaRestoreTest, TakesAnEmptyDirectoryOrNone) {
  restore_over();
  EXPECT_EQ(tree(to_), expected_);
  fs::remove_all(to_);
  fs::create_directories(to_ / "lost+found");
  restore_over();
  EXPECT_TRUE(fs::remove(to_ / "lost+found"));
  EXPECT_EQ(tree(to_), expected_);
}

TEST_F(DeltaRestoreTest, RefusesWhatMayBeSomebodys) {
  const auto refusal = [&](const fs::path& directory) {
    const std::string before = tree(directory);
    const base::Error error = repository::error_of([&] { restore(backup_, directory, true); });
    EXPECT_EQ(error.kind(), base::ErrorKind::kRefused);
    EXPECT_EQ(tree(directory), before);
    return std::string(error.what());
  };
  fs::create_directory(outside_);
  write(outside_ / "precious", "precious");
  EXPECT_THAT(refusal(outside_), HasSubstr("neither a PostgreSQL cluster"));

  copy(pristine_);
  EXPECT_THAT(refusal((to_ / relation_).parent_path()), HasSubstr("neither a PostgreSQL cluster"));
  write(to_ / "postmaster.pid", "");
  EXPECT_THAT(refusal(to_), HasSubstr("may be in use"));
  fs::remove(to_ / "postmaster.pid");
  {
    const UnfinishedMark other(to_);
    EXPECT_THAT(refusal(to_), HasSubstr("another restore"));
  }

  EXPECT_TRUE(server_on(server_->data()));
  const base::Error error = repository::error_of([&] { restore(backup_, server_->data(), true); });
  EXPECT_THAT(error.what(), HasSubstr("in use"));
  fs::remove(server_->data() / "postmaster.pid");  // it still runs
  EXPECT_TRUE(server_on(server_->data()));
  EXPECT_FALSE(server_on(to_));
}

TEST_F(DeltaRestoreTest, GoesOnAfterADeathAtAnyChange) {
  const auto prepare = [&] {
    copy(pristine_);
    fs::resize_file(to_ / relation_, 1'000'000);
    fs::remove(to_ / "base" / "5" / "PG_VERSION");
    fs::remove_all(to_ / "base" / "1");
    fs::create_directories(to_ / "strange" / "deep");
    write(to_ / "strange" / "deep" / "1", "1");
  };
  const auto restore_with_death_at = [&](std::uint64_t n) {
    return storage::run_in_child([&] {
      kill_before_change(n);
      restore_over();
      return fmt::format("{}", changes_so_far());
    });
  };
  prepare();
  const std::uint64_t changes = std::stoull(restore_with_death_at(0));
  ASSERT_GT(changes, 100U);
  // Each of the first and the last ones, some of those between: files are alike.
  std::vector<std::uint64_t> moments;
  for (std::uint64_t n = 1; n <= changes; n += n < 12 || n + 16 > changes ? 1 : changes / 8) {
    moments.push_back(n);
  }
  for (const std::uint64_t n : moments) {
    SCOPED_TRACE(fmt::format("change {} of {}", n, changes));
    prepare();
    const bool died = restore_with_death_at(n) == "died";
    // The very first changes are the mark alone; from pg_control's return on all is done.
    const bool half = died && n > 5 && n + 6 < changes;
    EXPECT_FALSE(half && fs::exists(to_ / "global" / "pg_control"));
    restore_over();
    ASSERT_EQ(tree(to_), expected_);
  }
  server_->run("pg_verifybackup", {to_.string()});
}

// The same for one that began in an empty directory.
TEST_F(DeltaRestoreTest, FinishesWhatAPlainRestoreBegan) {
  for (const std::uint64_t n : {3, 10, 40, 2000}) {
    SCOPED_TRACE(fmt::format("change {}", n));
    fs::remove_all(to_);
    const std::string outcome = storage::run_in_child([&] {
      kill_before_change(n);
      restore(backup_, to_, false);
      return std::string("done");
    });
    ASSERT_EQ(outcome, "died");
    restore_over();
    ASSERT_EQ(tree(to_), expected_);
  }
}

}  // namespace
}  // namespace holdfast::postgres
