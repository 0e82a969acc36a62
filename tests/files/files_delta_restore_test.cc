// A restore over what is there: what differs is replaced, what is more goes, nothing else is
// touched.
#include <sys/mount.h>
#include <sys/wait.h>

#include <atomic>
#include <set>
#include <thread>

#include "restore_fixture.h"
#include "storage/fault_storage.h"

namespace holdfast::files {
namespace {

class DeltaRestoreTest : public RestoreTest {
 protected:
  static constexpr std::size_t kLarge = 10 * 1024 * 1024;

  void SetUp() override {
    fs::create_directories(source_ / "etc/conf.d");
    write_text(source_ / "etc/app.conf", "port = 8000\n");
    write_text(source_ / "etc/conf.d/a", "a");
    write_text(source_ / "log", "line\n");
    write_content(source_ / "large", repository::random_bytes(kLarge, 1));
    fs::create_symlink("etc/app.conf", source_ / "link");
    fs::create_hard_link(source_ / "log", source_ / "etc/log2");
    ASSERT_EQ(::mkfifo((source_ / "fifo").c_str(), 0600), 0);
    fs::create_directories(outside_);
    write_text(outside_ / "victim", "mine");
  }

  // What is changed of the tree since restored, by name and by inode.
  std::map<std::string, ino_t> inodes() const {
    std::map<std::string, ino_t> found;
    for (const std::string& path : paths_below(to_)) found[path] = status_of(to_ / path).st_ino;
    return found;
  }

  const fs::path outside_ = directory_.path() / "outside";
};

TEST_F(DeltaRestoreTest, what_is_as_it_was_is_not_touched) {
  const auto record = store_tree(source_);
  restore(record);
  const auto changed_times = [&] {
    std::vector<std::int64_t> times;
    for (const std::string& path : paths_below(to_)) {
      const struct stat status = status_of(to_ / path);
      times.push_back(status.st_ctim.tv_sec * 1'000'000'000 + status.st_ctim.tv_nsec);
    }
    return times;
  };
  const auto before = inodes();
  const auto times = changed_times();
  const RestoreResult result = restore_over(record);
  EXPECT_EQ(result.bytes_written, 0u);
  EXPECT_EQ(result.removed, 0u);
  EXPECT_EQ(inodes(), before);
  EXPECT_EQ(changed_times(), times);
  EXPECT_EQ(snapshot(to_), snapshot(source_));
}

TEST_F(DeltaRestoreTest, rights_and_times_alone_are_mended) {
  const auto record = store_tree(source_);
  restore(record);
  const auto before = inodes();
  fs::permissions(to_ / "log", fs::perms(0777));
  fs::permissions(to_ / "etc", fs::perms(0700));
  fs::permissions(to_ / "fifo", fs::perms(0666));
  ASSERT_EQ(::lchown((to_ / "link").c_str(), 9, 9), 0);
  ASSERT_EQ(::lchown((to_ / "large").c_str(), 9, 9), 0);
  ASSERT_EQ(::setxattr((to_ / "large").c_str(), "user.more", "x", 1, 0), 0);
  set_modified(to_ / "etc/app.conf", 5, 5);
  EXPECT_EQ(restore_over(record).bytes_written, 0u);
  EXPECT_EQ(inodes(), before);
  EXPECT_EQ(snapshot(to_), snapshot(source_));
}

TEST_F(DeltaRestoreTest, of_a_changed_file_the_rest_is_taken_from_what_is_there) {
  const auto record = store_tree(source_);
  restore(record);
  base::Bytes content = content_of(to_ / "large");
  content[kLarge / 2] ^= 1;
  write_content(to_ / "large", content);
  content.resize(12);
  write_content(to_ / "etc/app.conf", content);  // of the same size

  storage::Faults faults;
  storage::FaultStorage counted(*repository_.storage, faults);
  faults.arm({.operations = {storage::Operation::kRead}, .name_prefix = "packs/"});
  const auto context = repository_.context_of(counted);
  restore_tree(context, record, {.to = to_, .delta = true}, progress_, {});
  EXPECT_EQ(snapshot(to_), snapshot(source_));
  const std::size_t reads = faults.count();
  faults.arm({.operations = {storage::Operation::kRead}, .name_prefix = "packs/"});
  restore_tree(context, record, {.to = directory_.path() / "whole"}, progress_, {});
  EXPECT_LT(reads, faults.count());
  EXPECT_GT(reads, 0u);
}

TEST_F(DeltaRestoreTest, what_is_more_goes_and_what_the_patterns_leave_out_stays) {
  details_.exclude = {"*.pyc", "/cache/"};
  const auto record = store_tree(source_);
  restore(record);
  for (const char* path : {"more/b/c", "etc/new", "cache/x", "etc/x.pyc", "more2/x.pyc"}) {
    fs::create_directories((to_ / path).parent_path());
    write_text(to_ / path, "more");
  }
  fs::create_directory_symlink(outside_, to_ / "out");
  const auto modified = status_of(source_).st_mtim;
  const RestoreResult result = restore_over(record);
  EXPECT_EQ(result.removed, 5u);  // more, more/b, more/b/c, etc/new, out
  std::vector<std::string> expected = paths_below(source_);
  for (const char* path : {"cache", "cache/x", "etc/x.pyc", "more2", "more2/x.pyc"}) {
    expected.emplace_back(path);
  }
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(paths_below(to_), expected);
  EXPECT_EQ(text_of(outside_ / "victim"), "mine");
  EXPECT_EQ(status_of(to_).st_mtim.tv_nsec, modified.tv_nsec);
  EXPECT_EQ(status_of(to_ / "etc").st_mtim.tv_nsec, status_of(source_ / "etc").st_mtim.tv_nsec);
}

TEST_F(DeltaRestoreTest, what_the_backup_could_not_read_stays) {
  details_.lost = {{"locked", "permission denied"}, {"etc/hidden", "permission denied"}};
  const auto record = store_tree(source_);
  restore(record);
  fs::create_directories(to_ / "locked/below");
  write_text(to_ / "etc/hidden", "the only copy");
  EXPECT_EQ(restore_over(record).removed, 0u);
  EXPECT_TRUE(fs::exists(to_ / "locked/below"));
  EXPECT_EQ(text_of(to_ / "etc/hidden"), "the only copy");
}

TEST_F(DeltaRestoreTest, with_only_and_of_secrets_nothing_is_removed) {
  const auto record = store_tree(source_);
  restore(record);
  write_text(to_ / "etc/new", "new");
  write_text(to_ / "etc/app.conf", "changed");
  restore(record, {.to = to_, .only = {"etc"}, .delta = true});
  EXPECT_EQ(text_of(to_ / "etc/new"), "new");
  EXPECT_EQ(text_of(to_ / "etc/app.conf"), "port = 8000\n");

  secret_ = true;
  restore_over(store_tree(source_));
  EXPECT_EQ(text_of(to_ / "etc/new"), "new");
  EXPECT_EQ(status_of(to_ / "log").st_mode & 07777, 0600u);
}

// Each kind where another one stands.
TEST_F(DeltaRestoreTest, what_has_another_type_is_replaced) {
  const auto record = store_tree(source_);
  const std::vector<std::function<void(const fs::path&)>> kinds = {
      [](const fs::path& path) { write_text(path, "file"); },
      [](const fs::path& path) {
        fs::create_directories(path / "x/y");
        write_text(path / "x/z", "z");
      },
      [&](const fs::path& path) { fs::create_symlink(outside_, path); },
      [&](const fs::path& path) { fs::create_symlink(outside_ / "victim", path); },
      [](const fs::path& path) { ASSERT_EQ(::mkfifo(path.c_str(), 0666), 0); },
  };
  for (const auto& make : kinds) {
    for (const char* path : {"etc", "log", "large", "link", "fifo", "etc/conf.d", "etc/log2"}) {
      fs::remove_all(to_);
      restore(record);
      fs::remove_all(to_ / path);
      make(to_ / path);
      restore_over(record);
      EXPECT_EQ(snapshot(to_), snapshot(source_)) << path;
      EXPECT_EQ(paths_below(outside_), std::vector<std::string>{"victim"});
      EXPECT_EQ(text_of(outside_ / "victim"), "mine");
    }
  }
}

TEST_F(DeltaRestoreTest, a_directory_in_the_way_keeps_what_the_backup_does_not_mean) {
  details_.exclude = {"*.key"};
  const auto record = store_tree(source_);
  restore(record);
  fs::remove(to_ / "log");
  fs::create_directories(to_ / "log/deep");
  write_text(to_ / "log/deep/my.key", "the only copy");
  write_text(to_ / "etc/app.conf", "changed");
  const auto before = snapshot(to_);
  EXPECT_EQ(error_of_restore(record, {.to = to_, .delta = true}).kind(), base::ErrorKind::kRefused);
  EXPECT_EQ(snapshot(to_), before);
  fs::rename(to_ / "log/deep/my.key", to_ / "log/deep/your.txt");
  EXPECT_EQ(error_of_restore(record, {.to = to_, .only = {"log"}, .delta = true}).kind(),
            base::ErrorKind::kRefused);
  restore_over(record);
  EXPECT_EQ(text_of(to_ / "log"), "line\n");
}

TEST_F(DeltaRestoreTest, no_other_name_of_a_file_is_changed_with_it) {
  // What stands there has the right content, and is a file of somebody else.
  const auto record = store_tree(source_);
  restore(record);
  write_text(outside_ / "same", "port = 8000\n");
  fs::permissions(outside_ / "same", fs::perms(0400));
  fs::remove(to_ / "etc/app.conf");
  fs::create_hard_link(outside_ / "same", to_ / "etc/app.conf");
  restore_over(record);
  EXPECT_EQ(status_of(outside_ / "same").st_mode & 07777, 0400u);
  EXPECT_EQ(status_of(outside_ / "same").st_nlink, 1u);
  EXPECT_EQ(snapshot(to_), snapshot(source_));

  // Names that belong together stand apart, others together.
  fs::remove(to_ / "etc/log2");
  write_text(to_ / "etc/log2", "line\n");
  fs::remove(to_ / "etc/conf.d/a");
  fs::create_hard_link(to_ / "etc/app.conf", to_ / "etc/conf.d/a");
  restore_over(record);
  EXPECT_EQ(snapshot(to_), snapshot(source_));
}

TEST_F(DeltaRestoreTest, what_is_mounted_stays) {
  const auto record = store_tree(source_);
  restore(record);
  fs::create_directories(to_ / "more/disk");
  if (::mount("none", (to_ / "more/disk").c_str(), "tmpfs", 0, nullptr) != 0) {
    GTEST_SKIP() << "no right to mount";
  }
  write_text(to_ / "more/disk/data", "data");
  const RestoreResult result = restore_over(record);
  EXPECT_EQ(text_of(to_ / "more/disk/data"), "data");
  EXPECT_FALSE(result.notes.empty());
  fs::rename(to_ / "etc/app.conf", to_ / "etc/app.conf2");
  fs::rename(to_ / "more", to_ / "etc/app.conf");
  EXPECT_EQ(error_of_restore(record, {.to = to_, .delta = true}).kind(), base::ErrorKind::kRefused);
  EXPECT_EQ(text_of(to_ / "etc/app.conf/disk/data"), "data");
  ::umount((to_ / "etc/app.conf/disk").c_str());
}

// At each read of the repository: what is there is the old file or the new one, whole.
TEST_F(DeltaRestoreTest, a_failure_leaves_whole_files_and_the_next_run_completes) {
  const auto record = store_tree(source_);
  storage::Faults faults;
  storage::FaultStorage failing(*repository_.storage, faults);
  const auto context = repository_.context_of(failing);
  const base::Bytes old_large = repository::random_bytes(kLarge - 5, 9);
  const base::Bytes new_large = content_of(source_ / "large");
  for (std::size_t n = 1;; ++n) {
    fs::remove_all(to_);
    fs::create_directories(to_ / "link/x");
    write_text(to_ / "log", "old");
    write_content(to_ / "large", old_large);
    faults.arm({.at = n, .operations = {storage::Operation::kRead}, .name_prefix = "packs/"});
    try {
      restore_tree(context, record, {.to = to_, .delta = true}, progress_, {});
    } catch (const base::Error&) {
    }
    const bool fired = faults.fired();
    faults.disarm();
    const std::string log = text_of(to_ / "log");
    EXPECT_TRUE(log == "old" || log == "line\n") << log;
    const base::Bytes large = content_of(to_ / "large");
    EXPECT_TRUE(large == old_large || large == new_large);
    for (const std::string& path : paths_below(to_)) {
      EXPECT_EQ(path.find(".holdfast-"), std::string::npos) << path;
    }
    restore_over(record);
    EXPECT_EQ(snapshot(to_), snapshot(source_)) << n;
    if (!fired) break;
    ASSERT_LT(n, 1000u);
  }
}

class KillingProgress final : public base::Progress {
 public:
  explicit KillingProgress(int at) : left_(at) {}
  void phase(std::string_view, std::uint64_t) override { step(); }
  void advance(std::uint64_t) override { step(); }
  void note(std::string_view) override {}
  void warning(std::string_view) override {}

 private:
  void step() {
    if (--left_ == 0) ::raise(SIGKILL);
  }
  std::atomic<int> left_;
};

TEST_F(DeltaRestoreTest, what_a_killed_run_left_goes_with_the_next) {
  const auto record = store_tree(source_);
  bool left_something = false;
  for (int n = 1;; ++n) {
    fs::remove_all(to_);
    fs::create_directories(to_ / "log/x");
    write_text(to_ / "log/x/y", "y");
    write_text(to_ / "large", "old");
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      KillingProgress killing(n);
      try {
        restore_tree(repository_.context(), record, {.to = to_, .delta = true}, killing, {});
      } catch (...) {
        ::_exit(1);
      }
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    for (const std::string& path : paths_below(to_)) {
      left_something = left_something || path.find(".holdfast-") != std::string::npos;
    }
    const base::Bytes large = content_of(to_ / "large");
    EXPECT_TRUE(large.size() == 3 || large.size() == kLarge);
    restore_over(record);
    EXPECT_EQ(snapshot(to_), snapshot(source_)) << n;
    if (WIFEXITED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      break;
    }
    ASSERT_LT(n, 1000);
  }
  EXPECT_TRUE(left_something);
}

// Somebody who may write below the root puts a link in the place of a directory, again and again.
TEST_F(DeltaRestoreTest, nothing_is_written_through_a_link_that_comes_meanwhile) {
  for (int i = 0; i < 200; ++i) {
    write_text(source_ / "etc/conf.d" / std::to_string(i), std::to_string(i));
  }
  const auto record = store_tree(source_);
  restore(record);
  const auto before = snapshot(outside_);
  const fs::path directory = to_ / "etc/conf.d";
  const fs::path away = to_ / "etc/away";
  std::jthread attacker([&](std::stop_token stop) {
    while (!stop.stop_requested()) {
      ::rename(directory.c_str(), away.c_str());
      [[maybe_unused]] const int ignored = ::symlink(outside_.c_str(), directory.c_str());
      ::unlink(directory.c_str());
      ::rename(away.c_str(), directory.c_str());
    }
  });
  for (int round = 0; round < 12; ++round) {
    try {
      restore_over(record);
    } catch (const base::Error&) {
    }
  }
  attacker.request_stop();
  attacker.join();
  EXPECT_EQ(snapshot(outside_), before);
}

// Who is not root restores what he may, and is told of the rest.
TEST_F(DeltaRestoreTest, without_the_right_to_give_files_away) {
  fs::permissions(source_ / "log", fs::perms(04755));
  fs::permissions(source_ / "etc/conf.d", fs::perms(0500));
  const auto record = store_tree(source_);
  fs::create_directory(to_);
  ASSERT_EQ(::chown(to_.c_str(), 65534, 65534), 0);
  fs::permissions(directory_.path(), fs::perms(0755));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    int result = 1;
    try {
      if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(2);
      const RestoreResult first = restore(record);
      result = first.warnings.size() == 1 ? 0 : 3;
      write_text(to_ / "large", "changed");
      fs::permissions(to_ / "etc/conf.d", fs::perms(0700));
      write_text(to_ / "etc/conf.d/more", "more");
      fs::permissions(to_ / "etc/conf.d", fs::perms(0500));
      fs::permissions(to_ / "etc", fs::perms(0500));
      if (restore_over(record).removed != 1) result = 4;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
    ::_exit(result);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(paths_below(to_), paths_below(source_));
  EXPECT_EQ(content_of(to_ / "large"), content_of(source_ / "large"));
  EXPECT_EQ(status_of(to_ / "log").st_mode & 07777, 0755u);  // no setuid for another owner
  EXPECT_EQ(status_of(to_ / "etc/conf.d").st_mode & 07777, 0500u);
}

}  // namespace
}  // namespace holdfast::files
