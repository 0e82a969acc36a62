// A backup of files whose storage fails, or whose process dies, at any moment.
#include <gmock/gmock.h>

#include "backup_fixture.h"
#include "storage/child.h"
#include "storage/directory.h"
#include "storage/fault_storage.h"
#include "storage/killing_storage.h"

namespace holdfast::files {
namespace {

using repository::BackupSummary;
using repository::Context;
using testing::HasSubstr;
using testing::Not;

class FilesBackupFaultTest : public BackupTest, public testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    request_.secret = GetParam();
    fs::create_directory(source_ / "canary-directory");
    write_text(source_ / "canary-directory" / "canary-password", "a canary that sings");
    write_content(source_ / "canary-large", repository::random_bytes(9'000'000, 1));
    ::setxattr((source_ / "canary-large").c_str(), "user.canary", "canary", 6, 0);
    fs::create_symlink("canary-large", source_ / "canary-link");
    earlier_ = take();
    earlier_tree_ = restored_from(context(), earlier_.id);
    for (std::uint32_t i = 0; i < 3; ++i) {
      write_content(source_ / fmt::format("canary-{}", i),
                    repository::random_bytes(300'000, 10 + i));
    }
    request_.incremental = true;
    const std::unique_ptr<storage::Storage> good = copy_of_all();
    const Context with = context_of(*good);
    later_tree_ = restored_from(with, take(with, watcher_).id);
    ASSERT_GT(later_tree_.size(), earlier_tree_.size());
  }

  // A repository of its own for each round, so that none is slower than the one before.
  std::unique_ptr<storage::Storage> copy_of_all() {
    std::unique_ptr<storage::Storage> copy = storage::open_memory();
    storage::copy_objects(*repository_.storage, *copy);
    return copy;
  }
  static void drop_locks(storage::Storage& storage) {
    for (const std::string& name : storage::names_in(storage, "locks/")) storage.remove(name);
  }
  std::vector<std::string> ids_in(const Context& with) {
    std::vector<std::string> ids;
    for (const auto& backup : repository::list_backups(with).backups) ids.push_back(backup.id);
    return ids;
  }
  // Whatever backups are there, they are whole; and so is what the next run takes.
  void expect_good(const Context& with) {
    for (const std::string& id : ids_in(with)) {
      expect_whole(with, id, id == earlier_.id ? earlier_tree_ : later_tree_);
    }
    const BackupSummary next = take(with, watcher_);
    EXPECT_EQ(next.warnings, std::vector<std::string>());
    expect_whole(with, next.id, later_tree_);
  }
  void expect_no_canary(const std::string& text) {
    if (request_.secret) {
      EXPECT_THAT(text, Not(HasSubstr("canary")));
    }
  }

  BackupSummary earlier_;
  Snapshot earlier_tree_;
  Snapshot later_tree_;  // as both are restored
};
INSTANTIATE_TEST_SUITE_P(, FilesBackupFaultTest, testing::Bool(), [](const auto& secret) {
  return secret.param ? std::string("secrets") : std::string("files");
});

TEST_P(FilesBackupFaultTest, SurvivesTheFailureOfAnyStorageOperation) {
  for (std::size_t n = 0;; ++n) {
    const bool after_effect = n % 2 == 1;
    SCOPED_TRACE(
        fmt::format("operation {}, {} its effect", n / 2 + 1, after_effect ? "after" : "before"));
    const std::unique_ptr<storage::Storage> copy = copy_of_all();
    storage::Faults faults;
    storage::FaultStorage faulty(*copy, faults);
    faults.arm({.at = n / 2 + 1, .after_effect = after_effect});
    std::string id;
    try {
      id = take(context_of(faulty), watcher_).id;
    } catch (const base::Error& error) {
      ASSERT_TRUE(faults.fired()) << "it failed without a fault: " << error.what();
      expect_no_canary(fmt::format("{} {}", error.what(), error.hint()));
    }
    drop_locks(*copy);
    const Context whole = context_of(*copy);
    // A run that failed behind the put of its record leaves a backup: then it is whole.
    EXPECT_LE(ids_in(whole).size(), 2U);
    if (!id.empty()) {
      EXPECT_EQ(ids_in(whole).back(), id);
    }
    expect_good(whole);
    if (!faults.fired()) break;
    ASSERT_LT(n, 400U) << "it never comes to an end";
  }
  expect_no_canary(fmt::format("{}", fmt::join(watcher_.lines(), "\n")));
}

// Before and behind each write in turn, in a process of its own.
TEST_P(FilesBackupFaultTest, SurvivesADeathAtAnyWrite) {
  crypto::SystemRandom random;
  bool died = true;
  for (std::size_t n = 0; died; ++n) {
    SCOPED_TRACE(fmt::format("{} write {}", n % 2 == 0 ? "before" : "behind", n / 2 + 1));
    const storage::TemporaryDirectory directory;
    const std::unique_ptr<storage::Storage> disk = storage::open_directory(directory.path());
    storage::copy_objects(*repository_.storage, *disk);
    const auto with = [&](storage::Storage& used) {
      return Context{used, repository_.keyring, clock_, random, 3};
    };
    const std::string outcome = storage::run_in_child([&] {
      storage::KillingStorage killing(*disk, n / 2 + 1, n % 2 == 1);
      return take(with(killing), watcher_).id;
    });
    died = outcome == "died";
    // The lock of the dead is found and removed.
    expect_good(with(*disk));
    ASSERT_LT(n, 100U) << "it never comes to an end";
  }
}

// No secret's name is in anything that others see: warnings, notes, the record's own words.
TEST_P(FilesBackupFaultTest, NothingToldNamesASecret) {
  write_text(source_ / "canary-vanishes", "for how long?");
  ASSERT_EQ(::mknod((source_ / "canary-socket").c_str(), S_IFSOCK | 0600, 0), 0);
  watcher_.on_reading = [&] { fs::remove(source_ / "canary-vanishes"); };
  watcher_.on_piece = [&] {
    let_the_kernels_clock_move();
    write_text(source_ / "canary-0", "other");
  };
  ::setxattr(source_.c_str(), "user.canary", "canary", 6, 0);
  const repository::BackupSummary backup = take();
  const FilesDetails details = details_of(backup);
  EXPECT_EQ(details.files_changed, 2U);
  EXPECT_EQ(details.files_left_out, 1U);
  const std::string told = fmt::format("{} {} {}", fmt::join(watcher_.lines(), "\n"),
                                       warnings_of(backup), backup.details_json);
  if (request_.secret) {
    EXPECT_THAT(told, HasSubstr("1 of its files changed while the backup ran: it vanished"));
  } else {
    EXPECT_THAT(told, HasSubstr("canary-vanishes"));
  }
  expect_no_canary(told);
}

}  // namespace
}  // namespace holdfast::files
