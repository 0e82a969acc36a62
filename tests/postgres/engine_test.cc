// A real server backed up and restored while the storage fails at every single operation in turn.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "postgres/backup.h"
#include "postgres/restore.h"
#include "postgres/temporary_server.h"
#include "repository/fixture.h"
#include "repository/verify.h"
#include "storage/child.h"
#include "storage/damage.h"
#include "storage/directory.h"
#include "storage/fault_storage.h"
#include "storage/killing_storage.h"
#include "storage/temporary_directory.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using repository::Context;

class EngineTest : public testing::Test {
 protected:
  void SetUp() override {
    HOLDFAST_NEED_SERVER();
    server_ = std::make_unique<TemporaryServer>();
    server_->start("archive_mode = on\narchive_command = 'true'\nfsync = off\n");
    server_->sql(
        "CREATE TABLE t AS SELECT g AS id, repeat(md5(g::text), 8) AS text "
        "FROM generate_series(1, 5000) g");
    make_whole_repository();
    request_.component = "database";
    request_.connection =
        fmt::format("host={} user=postgres dbname=postgres", server_->directory().string());
  }

  // With its format and a key slot, which verify looks at.
  void make_whole_repository() {
    const repository::Credential credential =
        repository::parse_key_file(repository::make_key_file(repository_.random));
    repository::create(*repository_.storage, credential, "test", repository_.clock,
                       repository_.random);
    repository_.keyring = repository::open_keyring(*repository_.storage, credential).keyring;
  }

  // A repository of its own for each round, so that none is slower than the one before.
  std::unique_ptr<storage::Storage> copy_of(storage::Storage& original) {
    std::unique_ptr<storage::Storage> copy = storage::open_memory();
    original.list("", [&](const storage::ObjectInfo& object) {
      copy->put(object.name, *original.get(object.name, object.size_bytes));
    });
    return copy;
  }

  std::string back_up(const Context& context) {
    return take_backup(context, request_, progress_, {}).id;
  }

  void change() {
    server_->sql("INSERT INTO t SELECT g, md5(random()::text) FROM generate_series(1, 2000) g");
  }

  std::vector<repository::Damage> damage_of(const Context& context, const std::string& id) {
    return repository::verify(context, {.backups = {id}}, wal_objects_of, progress_, {}).damaged;
  }

  // What the death of a process that failed would do: nothing of it is at work any more.
  static void drop_locks(storage::Storage& storage) {
    std::vector<std::string> names;
    storage.list("locks/", [&](const auto& object) { names.push_back(object.name); });
    for (const std::string& name : names) storage.remove(name);
  }

  void restore(const Context& context, const std::string& id, const fs::path& to) {
    const RestorePlan plan = plan_restore(
        context, "database", {.kind = RestoreTarget::Kind::kEndOfBackup, .backup = id});
    restore_cluster(context, plan, {.to = to, .restore_command = "false"}, progress_, {});
  }

  std::unique_ptr<TemporaryServer> server_;
  repository::TestRepository repository_;
  BackupRequest request_;
  base::NoProgress progress_;
};

// Of both kinds: an incremental one builds upon the backup that was before.
class BackupOfEachKindTest : public EngineTest, public testing::WithParamInterface<bool> {
 protected:
  std::string first_backup() {
    const std::string id = back_up(repository_.context());
    request_.incremental = GetParam();
    return id;
  }
};
INSTANTIATE_TEST_SUITE_P(, BackupOfEachKindTest, testing::Bool(), [](const auto& kind) {
  return kind.param ? std::string("incremental") : std::string("full");
});

TEST_P(BackupOfEachKindTest, SurvivesTheFailureOfAnyStorageOperation) {
  const std::string earlier = first_backup();
  change();
  for (std::size_t n = 1;; ++n) {
    SCOPED_TRACE(fmt::format("operation {}", n));
    const std::unique_ptr<storage::Storage> storage = copy_of(*repository_.storage);
    const Context context = repository_.context_of(*storage);
    storage::Faults faults;
    storage::FaultStorage faulty(*storage, faults);
    faults.arm({.at = n, .after_effect = n % 2 == 0});
    std::string id;
    try {
      id = back_up(repository_.context_of(faulty));
    } catch (const base::Error&) {
      ASSERT_TRUE(faults.fired()) << "it failed without a fault";
    }
    drop_locks(*storage);
    EXPECT_TRUE(damage_of(context, earlier).empty());
    if (id.empty()) id = back_up(context);
    EXPECT_TRUE(damage_of(context, id).empty());
    if (!faults.fired()) break;
    ASSERT_LT(n, 200U) << "it never comes to an end";
  }
}

// Before and behind each write in turn, in a process and on a disk of their own; the run that
// follows finds what the dead one left, its lock too.
TEST_P(BackupOfEachKindTest, SurvivesADeathAtAnyWrite) {
  const std::string earlier = first_backup();
  crypto::SystemRandom random;
  bool died = true;
  for (std::size_t n = 0; died; ++n) {
    SCOPED_TRACE(fmt::format("{} write {}", n % 2 == 0 ? "before" : "behind", n / 2 + 1));
    change();
    const storage::TemporaryDirectory directory;
    const std::unique_ptr<storage::Storage> storage = storage::open_directory(directory.path());
    storage::copy_objects(*repository_.storage, *storage);
    const auto context_of = [&](storage::Storage& used) {
      return Context{used, repository_.keyring, repository_.clock, random, 3};
    };
    const std::string outcome = storage::run_in_child([&] {
      storage::KillingStorage killing(*storage, n / 2 + 1, n % 2 == 1);
      return back_up(context_of(killing));
    });
    died = outcome == "died";
    const Context context = context_of(*storage);
    EXPECT_TRUE(damage_of(context, earlier).empty());
    EXPECT_TRUE(damage_of(context, died ? back_up(context) : outcome).empty());
    ASSERT_LT(n, 100U) << "it never comes to an end";
  }
}

TEST_F(EngineTest, WhatIsRestoredPassesTheServersOwnJudge) {
  const std::string id = back_up(repository_.context());
  const fs::path to = server_->directory() / "restored";
  restore(repository_.context(), id, to);
  server_->run("pg_verifybackup", {to.string()});
}

TEST_F(EngineTest, ARestoreThatFailsLeavesNothingThatStarts) {
  const std::string id = back_up(repository_.context());
  storage::Faults faults;
  storage::FaultStorage faulty(*repository_.storage, faults);
  const Context context = repository_.context_of(faulty);
  faults.arm({});
  restore(context, id, server_->directory() / "counted");
  const std::size_t operations = faults.count();
  ASSERT_GT(operations, 10U);
  for (std::size_t n = 1; n <= operations; n += 1 + operations / 12) {
    SCOPED_TRACE(fmt::format("operation {} of {}", n, operations));
    const fs::path to = server_->directory() / fmt::format("restored-{}", n);
    faults.arm({.at = n});
    bool failed = false;
    try {
      restore(context, id, to);
    } catch (const base::Error&) {
      failed = true;
    }
    // How far workers read ahead differs a little from run to run: the last operations may not
    // come.
    EXPECT_EQ(failed, faults.fired());
    EXPECT_NE(failed, fs::exists(to / "global" / "pg_control"));
    faults.disarm();
    fs::remove_all(to);
  }
}

}  // namespace
}  // namespace holdfast::postgres
