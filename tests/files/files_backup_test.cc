// What a backup of files takes over from the one before, and that all that a file can be is kept.
#include <gmock/gmock.h>

#include "backup_fixture.h"

namespace holdfast::files {
namespace {

using repository::BackupSummary;
using testing::HasSubstr;
using testing::IsEmpty;

class FilesBackupTest : public BackupTest {
 protected:
  void make_tree() {
    fs::create_directories(source_ / "a/deep/er");
    fs::create_directory(source_ / "empty");
    write_text(source_ / "a/one", "one");
    write_text(source_ / "a/deep/nothing", "");
    write_content(source_ / "a/deep/er/two", repository::random_bytes(1'500'000, 2));
    fs::create_hard_link(source_ / "a/one", source_ / "another-one");
    fs::create_symlink("a/one", source_ / "link");
    ASSERT_EQ(::mkfifo((source_ / "pipe").c_str(), 0640), 0);
    fs::permissions(source_ / "a/one", fs::perms(0400));
    set_modified(source_ / "a", 1'552'000'000, 123'456'789);
  }
  std::uint64_t reused(const BackupSummary& backup) { return details_of(backup).files_reused; }

  // The pack in which a chunk stands.
  std::string pack_of(const repository::ChunkId& chunk) {
    const repository::Index index = repository::Index::load(context());
    return repository::pack_name(index.pack(index.find(chunk).value().pack).id);
  }
};

TEST_F(FilesBackupTest, KeepsAllThatAFileCanBe) {
  make_tree();
  const BackupSummary backup = take();
  EXPECT_THAT(backup.warnings, IsEmpty());
  EXPECT_EQ(backup.kind, "full");
  EXPECT_EQ(backup.files, 4U);
  EXPECT_EQ(backup.bytes, 1'500'003U);
  EXPECT_EQ(backup.bytes_read, 1'500'003U);
  EXPECT_EQ(reused(backup), 0U);
  expect_whole(backup.id);
}

TEST_F(FilesBackupTest, NothingIsReadThatIsAsItWas) {
  make_tree();
  const BackupSummary first = take();
  const BackupSummary second = take_incremental();
  EXPECT_EQ(second.kind, "incremental");
  EXPECT_EQ(second.previous, first.id);
  EXPECT_EQ(second.bytes_read, 0U);
  EXPECT_EQ(second.bytes, first.bytes);
  EXPECT_EQ(reused(second), 3U);  // hard links count once
  expect_whole(second.id);
}

TEST_F(FilesBackupTest, TheFirstIncrementalOneIsFullAndSaysSo) {
  make_tree();
  const BackupSummary backup = take_incremental();
  EXPECT_EQ(backup.kind, "full");
  EXPECT_THAT(watcher_.lines(), testing::Contains(HasSubstr("there is no backup to build on")));
  expect_whole(backup.id);
}

TEST_F(FilesBackupTest, OtherContentUnderTheSameSizeAndTimeIsSeen) {
  write_text(source_ / "written", "before");
  write_text(source_ / "replaced", "before");
  write_text(source_ / "untouched", "before");
  take();
  change_in_secret(source_ / "written", "behind");
  const timespec modified = status_of(source_ / "replaced").st_mtim;
  write_text(source_ / "new", "BEHIND");
  set_modified(source_ / "new", modified.tv_sec, modified.tv_nsec);
  fs::rename(source_ / "new", source_ / "replaced");

  const BackupSummary second = take_incremental();
  EXPECT_EQ(reused(second), 1U);
  EXPECT_EQ(second.bytes_read, 12U);
  expect_whole(second.id);
}

TEST_F(FilesBackupTest, OtherRightsAloneStoreNoContent) {
  write_content(source_ / "file", repository::random_bytes(2'000'000, 1));
  fs::create_directory(source_ / "directory");
  take();
  let_the_kernels_clock_move();
  fs::permissions(source_ / "file", fs::perms(0751));
  fs::permissions(source_ / "directory", fs::perms(0500));
  const BackupSummary second = take_incremental();
  EXPECT_LT(second.bytes_stored, 20'000U);
  EXPECT_EQ(entry_named(second.id, "file").mode, 0751U);
  expect_whole(second.id);
}

TEST_F(FilesBackupTest, AChangeJustBeforeABackupBeganIsLookedAtAgain) {
  write_text(source_ / "file", "content");
  const timespec changed = status_of(source_ / "file").st_ctim;
  const base::Time moment(std::chrono::seconds(changed.tv_sec) +
                          std::chrono::microseconds(changed.tv_nsec / 1000));
  const auto read_after = [&](base::Duration pause) {
    repository_.storage = storage::open_memory();
    request_.incremental = false;
    clock_.time = moment + pause - std::chrono::minutes(1);  // take() lets a minute go by
    take();
    return take_incremental().bytes_read;
  };
  EXPECT_EQ(read_after(std::chrono::milliseconds(5)), 7U);
  EXPECT_EQ(read_after(std::chrono::milliseconds(-5)), 7U);  // while it ran
  EXPECT_EQ(take_incremental().bytes_read, 0U);
  const bool whole_second = changed.tv_nsec == 0;  // as of a file system without fractions
  EXPECT_EQ(read_after(std::chrono::milliseconds(whole_second ? 2100 : 20)), 0U);
}

TEST_F(FilesBackupTest, WhatTheRepositoryLostIsReadAnew) {
  write_content(source_ / "lost", repository::random_bytes(300'000, 1));
  write_content(source_ / "large", repository::random_bytes(12'000'000, 2));  // extents of its own
  take();
  write_content(source_ / "later", repository::random_bytes(300'000, 3));
  const BackupSummary second = take_incremental();
  const std::string pack = pack_of(entry_named(second.id, "lost").extents.at(0).chunk);
  ASSERT_NE(pack, pack_of(entry_named(second.id, "later").extents.at(0).chunk));
  storage::delete_object(*repository_.storage, pack);

  const BackupSummary third = take_incremental();
  EXPECT_EQ(third.kind, "incremental");
  EXPECT_EQ(reused(third), 1U);
  EXPECT_EQ(third.bytes_read, 12'300'000U);
  expect_whole(third.id);
}

TEST_F(FilesBackupTest, WithoutTheTableBeforeItIsFullAndSaysSo) {
  make_tree();
  const BackupSummary first = take();
  storage::delete_object(*repository_.storage,
                         pack_of(repository::get_record(context(), first.id).file_table.at(0)));
  const BackupSummary second = take_incremental();
  EXPECT_EQ(second.kind, "full");
  EXPECT_EQ(second.bytes_read, 1'500'003U);
  EXPECT_THAT(watcher_.lines(), testing::Contains(HasSubstr("this is a full backup, because")));
  expect_whole(second.id);
}

// The pack is there and has its size: nothing tells that what stands in it is of no use but that.
TEST_F(FilesBackupTest, DoesNotTakeOverATableThatIsDamaged) {
  make_tree();
  const BackupSummary first = take();
  const auto table = repository::get_record(context(), first.id).file_table.at(0);
  const auto place = repository::Index::load(context()).find(table);
  ASSERT_TRUE(place);
  storage::flip_bit(*repository_.storage, pack_of(table), 8 * (place->offset + 5));
  const BackupSummary second = take_incremental();
  EXPECT_EQ(second.kind, "full");
  expect_whole(second.id);
}

TEST_F(FilesBackupTest, WithoutTheRecordBeforeItBuildsOnTheOneThatIsThere) {
  make_tree();
  const BackupSummary first = take();
  const BackupSummary second = take_incremental();
  storage::flip_bit(*repository_.storage, repository::record_name(second.id), 999);
  const BackupSummary third = take_incremental();
  EXPECT_EQ(third.kind, "incremental");
  EXPECT_EQ(third.previous, first.id);
  expect_whole(third.id);
}

TEST_F(FilesBackupTest, NamesHoldAnyByte) {
  for (int byte = 1; byte < 256; ++byte) {
    const std::string name(1, static_cast<char>(byte));
    if (name != "/" && name != ".") write_text(source_ / name, name);
  }
  const std::string longest(255, '\xfe');
  fs::create_directory(source_ / longest);
  write_text(source_ / longest / "-rf *\n", "x");
  watcher_.on_reading = [&] { fs::remove(source_ / "\xff"); };
  const BackupSummary backup = take();
  EXPECT_EQ(backup.warnings.size(), 1U);
  EXPECT_EQ(repository::get_record(context(), backup.id).summary.warnings.size(), 1U);
  expect_whole_below_the_root(backup.id);
  EXPECT_EQ(take_incremental().bytes_read, 0U);
}

TEST_F(FilesBackupTest, ManyFilesByManyWorkers) {
  for (int i = 0; i < 5000; ++i) {
    const fs::path directory = source_ / fmt::format("{}", i % 50);
    fs::create_directories(directory);
    write_text(directory / fmt::format("{}", i), std::string(static_cast<std::size_t>(i), 'x'));
  }
  request_.workers = 4;
  const BackupSummary first = take();
  EXPECT_EQ(first.files, 5000U);
  EXPECT_EQ(first.bytes_read, 5000U * 4999 / 2);
  const BackupSummary second = take_incremental();
  EXPECT_EQ(reused(second), 5000U);
  EXPECT_EQ(second.bytes_read, 0U);
  expect_whole(second.id);
}

TEST_F(FilesBackupTest, ALargeFileByAllWorkersKeepsItsHoles) {
  const fs::path large = source_ / "large";
  write_content(large, repository::random_bytes(33'000'001, 1));
  fs::resize_file(large, 80'000'000);
  {
    const base::UniqueFd end = base::open_file(large, O_WRONLY | O_APPEND);
    base::write_all(end.get(), repository::random_bytes(3'000'000, 2), large);
  }
  request_.workers = 4;
  const BackupSummary backup = take();
  EXPECT_THAT(backup.warnings, IsEmpty());
  EXPECT_EQ(backup.bytes, 83'000'000U);
  EXPECT_LT(backup.bytes_read, 36'100'000U);  // holes are not read
  expect_whole(backup.id);
}

TEST_F(FilesBackupTest, SocketsAreLeftOutAndCounted) {
  write_text(source_ / "good", "good");
  ASSERT_EQ(::mknod((source_ / "socket").c_str(), S_IFSOCK | 0600, 0), 0);
  const BackupSummary backup = take();
  EXPECT_THAT(backup.warnings, IsEmpty());
  EXPECT_EQ(details_of(backup).files_left_out, 1U);
  EXPECT_EQ(details_of(backup).left_out.at(0).path, "socket");
  Snapshot without_it = snapshot(source_);
  ASSERT_EQ(without_it.erase("socket"), 1U);
  expect_whole(context(), backup.id, without_it);
}

TEST_F(FilesBackupTest, NoRootNoBackup) {
  fs::remove(source_);
  const base::Error error = repository::error_of([&] { take(); });
  EXPECT_EQ(error.kind(), base::ErrorKind::kNotFound);
  EXPECT_THAT(error.what(), HasSubstr(source_.string()));
  EXPECT_THAT(backups(), IsEmpty());
}

TEST_F(FilesBackupTest, OneAtATime) {
  write_text(source_ / "file", "content");
  std::optional<base::Error> error;
  watcher_.on_reading = [&] {
    base::NoProgress quiet;
    error = repository::error_of([&] { take(context(), quiet); });
  };
  const BackupSummary backup = take();
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), base::ErrorKind::kLocked);
  EXPECT_THAT(backups(), testing::ElementsAre(backup.id));
}

TEST_F(FilesBackupTest, AStopLeavesNoBackup) {
  write_content(source_ / "file", repository::random_bytes(10'000'000, 1));
  std::stop_source stop;
  watcher_.on_piece = [&] { stop.request_stop(); };
  const base::Error error =
      repository::error_of([&] { take_backup(context(), request_, watcher_, stop.get_token()); });
  EXPECT_EQ(error.kind(), base::ErrorKind::kInterrupted);
  EXPECT_THAT(backups(), IsEmpty());
  watcher_.on_piece = nullptr;
  expect_whole(take().id);
}

}  // namespace
}  // namespace holdfast::files
