// Trees that change, vanish or cannot be read while they are backed up: told of, and the rest good.
#include <gmock/gmock.h>

#include "backup_fixture.h"
#include "storage/child.h"

namespace holdfast::files {
namespace {

using repository::BackupSummary;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class FilesBackupTroubleTest : public BackupTest {
 protected:
  static void append(const fs::path& path, std::string_view text) {
    const base::UniqueFd fd = base::open_file(path, O_WRONLY | O_APPEND);
    base::write_all(fd.get(), base::as_bytes(text), path);
  }
  // Into its first bytes, which have been read.
  static void overwrite(const fs::path& path, std::string_view text) {
    const base::UniqueFd fd = base::open_file(path, O_WRONLY);
    base::write_all(fd.get(), base::as_bytes(text), path);
  }
  // The first time that a piece of a file was read.
  void once(std::function<void()> change) {
    watcher_.on_piece = [this, change = std::move(change), done = false]() mutable {
      if (done) return;
      done = true;
      let_the_kernels_clock_move();
      change();
    };
  }
  void always(std::function<void()> change) {
    watcher_.on_piece = [this, change = std::move(change)] {
      let_the_kernels_clock_move();
      change();
    };
  }
  // Told as changed whenever it was read; there all the same, and read again the next time.
  void expect_changed(const BackupSummary& backup, const std::string& path) {
    EXPECT_THAT(warnings_of(backup), HasSubstr(path + ": it changed while it was read"));
    const FilesDetails details = details_of(backup);
    ASSERT_EQ(details.changed.size(), 1U);
    EXPECT_EQ(details.changed[0].path, path);
    EXPECT_TRUE(details.is_good());
    EXPECT_FALSE(entry_named(backup.id, path).sighting);
    restored_from(context(), backup.id);
    watcher_.on_piece = nullptr;
    const BackupSummary next = take_incremental();
    EXPECT_THAT(next.warnings, IsEmpty());
    EXPECT_GT(next.bytes_read, 0U);
    expect_whole(next.id);
  }
  // Made by take() while `change` happens to "victim" between the listing and the reading.
  BackupSummary take_while(std::function<void()> change) {
    watcher_.on_reading = std::move(change);
    const BackupSummary backup = take();
    watcher_.on_reading = nullptr;
    return backup;
  }
};

TEST_F(FilesBackupTroubleTest, WhatChangedOnceIsReadAgain) {
  const fs::path log = source_ / "log";
  const std::vector<std::function<void()>> changes = {
      [&] { append(log, "a line"); },
      [&] { overwrite(log, "other"); },
      [&] { fs::resize_file(log, 400'000); },
      [&] { fs::resize_file(log, 0); },
      [&] { fs::permissions(log, fs::perms(0600)); },
      [&] { write_text(source_ / "new", "another"), fs::rename(source_ / "new", log); },
  };
  for (const auto& change : changes) {
    fs::remove(log);
    write_content(log, repository::random_bytes(3'000'000, 1));
    once(change);
    const BackupSummary backup = take();
    EXPECT_THAT(backup.warnings, IsEmpty());
    watcher_.on_piece = nullptr;
    expect_whole_below_the_root(backup.id);
    expect_whole(take_incremental().id);
    request_.incremental = false;
  }
}

TEST_F(FilesBackupTroubleTest, WhatKeepsChangingIsTold) {
  write_content(source_ / "log", repository::random_bytes(3'000'000, 1));
  write_text(source_ / "good", "good");
  always([&] { append(source_ / "log", "a line"); });
  const BackupSummary backup = take();
  EXPECT_GE(entry_named(backup.id, "log").size_bytes, 3'000'000U);
  EXPECT_TRUE(entry_named(backup.id, "good").sighting);
  expect_changed(backup, "log");
}

TEST_F(FilesBackupTroubleTest, ALargeFileThatChangedOnceIsReadAgain) {
  const fs::path large = source_ / "large";
  request_.workers = 4;
  for (const std::uint64_t new_size : {50'000'000U, 34'000'000U, 1'000'000U, 40'000'000U}) {
    write_content(large, repository::random_bytes(40'000'000, 1));
    once([&] {
      fs::resize_file(large, new_size);
      overwrite(large, "other");
    });
    const BackupSummary backup = take();
    EXPECT_THAT(backup.warnings, IsEmpty());
    expect_whole(backup.id);
  }
}

TEST_F(FilesBackupTroubleTest, ALargeFileThatKeepsChangingIsTold) {
  write_content(source_ / "large", repository::random_bytes(40'000'000, 1));
  request_.workers = 4;
  always([&] { overwrite(source_ / "large", "other"); });
  const BackupSummary backup = take();
  EXPECT_EQ(entry_named(backup.id, "large").size_bytes, 40'000'000U);
  expect_changed(backup, "large");
}

TEST_F(FilesBackupTroubleTest, WhatIsNoFileAnyMoreIsToldAndTheRestIsGood) {
  const fs::path victim = source_ / "m-victim";
  const std::map<std::string, std::function<void()>> changes = {
      {"vanished", [] {}},
      {"no file any more (directory)", [&] { fs::create_directory(victim); }},
      {"no file any more (link)", [&] { fs::create_symlink("/etc/passwd", victim); }},
      {"no file any more (pipe)", [&] { ::mkfifo(victim.c_str(), 0600); }},
      {"no file any more (socket)", [&] { ::mknod(victim.c_str(), S_IFSOCK | 0600, 0); }},
  };
  write_text(source_ / "a-good", "good");
  write_text(source_ / "z-good", "good too");
  for (const auto& [word, change] : changes) {
    SCOPED_TRACE(word);
    write_text(victim, "before");
    const BackupSummary backup = take_while([&, change = &change] {
      fs::remove(victim);
      (*change)();
    });
    EXPECT_THAT(warnings_of(backup), HasSubstr("m-victim: it "));
    EXPECT_THAT(warnings_of(backup), HasSubstr(word.substr(0, word.find(" ("))));
    EXPECT_EQ(backup.warnings.size(), 1U);
    EXPECT_EQ(backup.files, 2U);
    fs::remove_all(victim);
    expect_whole_below_the_root(backup.id);
  }
}

TEST_F(FilesBackupTroubleTest, ADirectoryThatBecameALinkLeadsNowhere) {
  fs::create_directory(source_ / "directory");
  write_text(source_ / "directory" / "file", "inside");
  fs::create_directory(directory_.path() / "outside");
  write_text(directory_.path() / "outside" / "file", "a canary");
  const BackupSummary backup = take_while([&] {
    fs::rename(source_ / "directory", directory_.path() / "away");
    fs::create_directory_symlink(directory_.path() / "outside", source_ / "directory");
  });
  EXPECT_THAT(warnings_of(backup), HasSubstr("directory/file"));
  EXPECT_EQ(backup.files, 0U);
}

TEST_F(FilesBackupTroubleTest, AFileWhoseFirstNameIsGoneIsReadUnderTheNext) {
  for (const bool replaced : {false, true}) {
    for (const char* name : {"a-first", "b-second", "c-third"}) fs::remove(source_ / name);
    write_text(source_ / "a-first", "the file of three names");
    fs::create_hard_link(source_ / "a-first", source_ / "b-second");
    fs::create_hard_link(source_ / "a-first", source_ / "c-third");
    const BackupSummary backup = take_while([&] {
      fs::remove(source_ / "a-first");
      // As an editor does, that writes a new file and renames it over the old one.
      if (replaced) write_text(source_ / "a-first", "another file");
    });
    EXPECT_EQ(backup.warnings.size(), replaced ? 0U : 1U);
    EXPECT_EQ(entry_named(backup.id, "b-second").hard_link, "");
    EXPECT_EQ(entry_named(backup.id, "c-third").hard_link, "b-second");
    expect_whole_below_the_root(backup.id);
    expect_whole(take_incremental().id);
    request_.incremental = false;
  }
}

TEST_F(FilesBackupTroubleTest, NamesOutsideOfWhatIsMeantAreNoMatter) {
  fs::create_directory(source_ / "excluded");
  write_text(source_ / "excluded" / "first", "content");
  fs::create_hard_link(source_ / "excluded" / "first", source_ / "middle");
  fs::create_hard_link(source_ / "middle", source_ / "zz-last");
  fs::create_hard_link(source_ / "middle", directory_.path() / "outside");
  request_.exclude = {"/excluded/"};
  const BackupSummary backup = take();
  EXPECT_THAT(backup.warnings, IsEmpty());
  EXPECT_EQ(entry_named(backup.id, "middle").hard_link, "");
  EXPECT_EQ(entry_named(backup.id, "zz-last").hard_link, "middle");
  EXPECT_EQ(take_incremental().bytes_read, 0U);
}

// As someone whom the system refuses things.
template <typename Body>
std::string as_nobody(Body body) {
  constexpr uid_t kNobody = 65534;
  return storage::run_in_child([&] {
    if (::geteuid() == 0 && ::seteuid(kNobody) != 0) return std::string("no other user");
    return std::string(body());
  });
}

TEST_F(FilesBackupTroubleTest, WhatCannotBeReadIsTold) {
  fs::permissions(directory_.path(), fs::perms(0755));
  write_text(source_ / "closed", "closed");
  fs::create_hard_link(source_ / "closed", source_ / "closed-too");
  fs::create_directory(source_ / "directory");
  write_text(source_ / "good", "good");
  fs::permissions(source_ / "good", fs::perms(0644));
  fs::permissions(source_ / "closed", fs::perms(0));
  fs::permissions(source_ / "directory", fs::perms(0));
  for (const bool secret : {false, true}) {
    request_.secret = secret;
    const std::string told = as_nobody([&] {
      const BackupSummary backup = take();
      const FilesDetails details = details_of(backup);
      return fmt::format("{}\n{} lost, {} changed, good: {}, {} files\n{}", warnings_of(backup),
                         details.files_lost, details.files_changed, details.is_good(), backup.files,
                         details.lost.size());
    });
    EXPECT_THAT(told, HasSubstr("3 lost, 0 changed, good: false, 1 files"));
    EXPECT_THAT(told, HasSubstr("Permission denied"));
    for (const char* name : {"closed", "closed-too", "directory"}) {
      if (secret) {
        EXPECT_THAT(told, Not(HasSubstr(name)));
      } else {
        EXPECT_THAT(told, HasSubstr(fmt::format("config: {}: ", name)));
      }
    }
  }
}

TEST_F(FilesBackupTroubleTest, ADirectoryThatCouldNotBeOpenedIsLookedAtAgain) {
  fs::create_directory(source_ / "directory");
  const BackupSummary backup =
      take_while([&] { fs::rename(source_ / "directory", source_ / "elsewhere"); });
  EXPECT_FALSE(entry_named(backup.id, "directory").sighting);
}

TEST_F(FilesBackupTroubleTest, WarningsNameSomeAndTheRecordAll) {
  for (int i = 0; i < 100; ++i) write_text(source_ / fmt::format("file-{:03}", i), "x");
  const BackupSummary backup = take_while([&] {
    for (int i = 0; i < 100; ++i) fs::remove(source_ / fmt::format("file-{:03}", i));
  });
  EXPECT_LT(backup.warnings.size(), 30U);
  EXPECT_THAT(warnings_of(backup), HasSubstr("80 more files"));
  EXPECT_EQ(details_of(backup).changed.size(), 100U);
  EXPECT_EQ(repository::get_record(context(), backup.id).summary.details_json, backup.details_json);
}

}  // namespace
}  // namespace holdfast::files
