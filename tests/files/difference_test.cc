#include "files/difference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <fstream>

#include "files/backup.h"
#include "files/details.h"
#include "repository/fixture.h"
#include "repository/sample_backup.h"
#include "storage/temporary_directory.h"

namespace holdfast::files {
namespace {

namespace fs = std::filesystem;
using repository::BackupRecord;
using repository::FileEntry;
using repository::FileType;
using testing::ElementsAre;
using testing::IsEmpty;

// Some minutes after the files of a test were made, so that what has not changed need not be read.
class LaterClock final : public base::Clock {
 public:
  base::Time now() const override { return now_; }
  void advance() { now_ += std::chrono::seconds(10); }

 private:
  base::Time now_ = base::SystemClock().now() + std::chrono::minutes(5);
};

std::vector<std::string> shown(const std::vector<Difference>& differences) {
  std::vector<std::string> lines;
  for (const Difference& each : differences) {
    std::string line = each.kind == Difference::Kind::kAdded     ? "+ "
                       : each.kind == Difference::Kind::kRemoved ? "- "
                                                                 : "* ";
    line += each.path;
    for (std::size_t i = 0; i < each.what.size(); ++i)
      line += (i == 0 ? ": " : ", ") + each.what[i];
    lines.push_back(std::move(line));
  }
  return lines;
}

class DifferenceTest : public testing::Test {
 protected:
  DifferenceTest() { fs::permissions(root(), fs::perms{0755}); }

  const fs::path& root() const { return directory_.path(); }
  repository::Context context() {
    return {*repository_.storage, repository_.keyring, clock_, repository_.random, 3};
  }
  void write(const fs::path& path, std::string_view content) {
    fs::create_directories((root() / path).parent_path());
    std::ofstream(root() / path, std::ios::trunc) << content;
  }
  // As if it had not been touched, but for what cannot be set.
  void set_time(const fs::path& path, std::int64_t second) {
    const timespec times[] = {{.tv_sec = second, .tv_nsec = 0}, {.tv_sec = second, .tv_nsec = 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, (root() / path).c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
  }
  BackupRecord back_up(std::vector<std::string> include = {}) {
    clock_.advance();
    base::NoProgress progress;
    const auto summary = take_backup(
        context(), {.component = "files", .root = root(), .include = std::move(include)}, progress,
        {});
    return repository::get_record(context(), summary.id);
  }
  NowComparison now_since(const BackupRecord& before, NowRequest request = {}) {
    request.root = root();
    return compare_with_now(context(), before, request, progress_, {});
  }

  class CountingProgress final : public base::Progress {
   public:
    void phase(std::string_view, std::uint64_t total_bytes) override { total = total_bytes; }
    void advance(std::uint64_t bytes) override { done += bytes; }
    void note(std::string_view) override {}
    void warning(std::string_view) override {}
    std::uint64_t total = 0;
    std::uint64_t done = 0;
  };

  repository::TestRepository repository_;
  LaterClock clock_;
  CountingProgress progress_;
  storage::TemporaryDirectory directory_;
};

TEST_F(DifferenceTest, TellsWhatChangedBetweenBackupsAndSinceThen) {
  write("added-to", "twelve bytes");
  write("content", "aaaa");
  write("kind", "file");
  write("mode", "x");
  write("removed/one", "1");
  write("same", "as ever");
  write("time", "x");
  fs::create_symlink("a", root() / "link");
  for (const char* path : {"content", "mode", "same", "time", "link"}) set_time(path, 1'000'000);
  const BackupRecord before = back_up();
  EXPECT_THAT(shown(now_since(before).differences), IsEmpty());

  write("added-to", "fourteen bytes");
  write("content", "aaab");
  set_time("content", 1'000'000);
  fs::remove(root() / "kind");
  fs::create_directory(root() / "kind");
  fs::permissions(root() / "mode", fs::perms{0600});
  fs::remove_all(root() / "removed");
  set_time("time", 1'000'001);
  fs::remove(root() / "link");
  fs::create_symlink("b", root() / "link");
  set_time("link", 1'000'000);
  write("new/file", "x");
  const auto expected =
      ElementsAre("* added-to: size 12 to 14, time", "* content: content", "* kind: type",
                  "* link: target", "* mode: mode 0644 to 0600", "+ new", "+ new/file", "- removed",
                  "- removed/one", "* time: time");
  const NowComparison now = now_since(before);
  EXPECT_THAT(shown(now.differences), expected);
  EXPECT_THAT(now.unreadable, IsEmpty());
  const BackupRecord after = back_up();
  EXPECT_THAT(shown(compare_backups(context(), before, after)), expected);
  EXPECT_THAT(shown(compare_backups(context(), after, after)), IsEmpty());
  EXPECT_THAT(shown(compare_backups(context(), after, before)),
              testing::Contains("* added-to: size 14 to 12, time"));
}

TEST_F(DifferenceTest, ReadsOnlyWhatMayHaveChanged) {
  write("large", std::string(1'000'000, 'l'));
  write("small", "small");
  const BackupRecord before = back_up();
  EXPECT_THAT(shown(now_since(before).differences), IsEmpty());
  EXPECT_EQ(progress_.total, 0u);
  fs::permissions(root() / "large", fs::perms{0600});
  fs::permissions(root() / "large", fs::perms{0644});
  EXPECT_THAT(shown(now_since(before).differences), IsEmpty());
  EXPECT_EQ(progress_.total, 1'000'000u);
  EXPECT_EQ(progress_.done, 1'000'000u);
}

TEST_F(DifferenceTest, FindsAByteInALargeFileWithHoles) {
  const base::Bytes content = repository::random_bytes(5'000'000, 7);
  write("file", base::as_text(content));
  constexpr std::uint64_t kSize = 20'000'000;
  fs::resize_file(root() / "file", kSize);
  const BackupRecord before = back_up();
  for (const std::uint64_t place :
       {std::uint64_t{0}, std::uint64_t{4'999'999}, std::uint64_t{12'345'678}, kSize - 1}) {
    std::fstream file(root() / "file", std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(place));
    const char was = static_cast<char>(file.get());
    const auto put = [&](char byte) {
      file.seekp(static_cast<std::streamoff>(place));
      file.put(byte);
      file.flush();
    };
    put(static_cast<char>(was ^ 1));
    EXPECT_THAT(shown(now_since(before).differences), ElementsAre("* file: content, time"))
        << place;
    put(was);
    EXPECT_THAT(shown(now_since(before).differences), ElementsAre("* file: time")) << place;
  }
}

// Its own credential can tell what has changed on a host, and read none of it.
TEST_F(DifferenceTest, AWriteOnlyCredentialCanCompare) {
  write("a", "one");
  write("b", std::string(3'000'000, 'b'));
  const BackupRecord before = back_up();
  write("a", "two");
  write("b", std::string(3'000'000, 'b'));
  const repository::Context write_only{*repository_.storage, repository_.write_only, clock_,
                                       repository_.random, 3};
  const NowComparison now = compare_with_now(
      write_only, before, {.root = root(), .include = {}, .exclude = {}}, progress_, {});
  EXPECT_THAT(shown(now.differences), ElementsAre("* a: content, time", "* b: time"));
}

TEST_F(DifferenceTest, TellsExtendedAttributes) {
  write("file", "x");
  if (::setxattr((root() / "file").c_str(), "user.origin", "a", 1, 0) != 0) {
    GTEST_SKIP() << "SKIPPED: no extended attributes here";
  }
  fs::create_directory(root() / "directory");
  const BackupRecord before = back_up();
  ASSERT_EQ(::setxattr((root() / "file").c_str(), "user.origin", "b", 1, 0), 0);
  ASSERT_EQ(::setxattr((root() / "directory").c_str(), "user.new", "", 0, 0), 0);
  const auto expected = ElementsAre("* directory: attributes", "* file: attributes");
  EXPECT_THAT(shown(now_since(before).differences), expected);
  EXPECT_THAT(shown(compare_backups(context(), before, back_up())), expected);
}

TEST_F(DifferenceTest, DirectoriesOnTheWayAreThereOrNot) {
  write("way/taken", "x");
  write("gone/taken", "x");
  const std::vector<std::string> include{"taken"};
  const BackupRecord before = back_up(include);
  fs::permissions(root() / "way", fs::perms{0700});
  fs::remove_all(root() / "gone");
  const auto expected = ElementsAre("- gone", "- gone/taken");
  EXPECT_THAT(shown(now_since(before, {.root = {}, .include = include, .exclude = {}}).differences),
              expected);
  EXPECT_THAT(shown(compare_backups(context(), before, back_up(include))), expected);
}

TEST_F(DifferenceTest, WhatCannotBeReadIsNotCalledGone) {
  if (::geteuid() != 0) GTEST_SKIP() << "SKIPPED: only root becomes another user";
  write("closed/inside", "x");
  write("gone", "x");
  write("secret", "aa");
  const BackupRecord before = back_up();
  fs::remove(root() / "gone");
  write("secret", "bb");
  fs::permissions(root() / "secret", fs::perms::none);
  fs::permissions(root() / "closed", fs::perms::none);
  ASSERT_EQ(::seteuid(65534), 0);
  const NowComparison now = now_since(before);
  ASSERT_EQ(::seteuid(0), 0);
  EXPECT_THAT(shown(now.differences), ElementsAre("* closed: mode 0755 to 0000", "- gone",
                                                  "* secret: mode 0644 to 0000, time"));
  EXPECT_THAT(now.unreadable, testing::Contains("closed: Permission denied"));
  EXPECT_THAT(now.unreadable, testing::Contains("secret: Permission denied"));
  fs::permissions(root() / "closed", fs::perms::owner_all);
}

// As backups of PostgreSQL have them: a part of a chunk, and the same bytes divided otherwise.
TEST_F(DifferenceTest, ExtentsMayBeDividedInAnyWay) {
  const auto record_of = [&](const std::vector<std::vector<repository::Extent>>& files,
                             repository::StoreRun& run) {
    std::vector<FileEntry> entries;
    for (const auto& extents : files) {
      FileEntry& entry = entries.emplace_back();
      entry.path = "file" + std::to_string(entries.size());
      entry.extents = extents;
      for (const auto& extent : extents) entry.size_bytes += extent.length_bytes;
    }
    BackupRecord record;
    record.summary.type = "postgresql";
    record.file_table = repository::store_file_table(entries, *run.writer);
    return record;
  };
  repository::StoreRun run(context());
  const auto one = run.writer->put_bytes(repository::random_bytes(8192, 1));
  const auto two = run.writer->put_bytes(repository::random_bytes(8192, 2));
  const repository::ChunkId zero;
  const BackupRecord before = record_of({{{8192, one, 0}, {8192, zero, 0}},
                                         {{4096, one, 4096}, {4096, two, 0}},
                                         {{4096, one, 0}, {4096, two, 0}},
                                         {{8192, one, 0}}},
                                        run);
  const BackupRecord after =
      record_of({{{100, one, 0}, {8092, one, 100}, {1, zero, 0}, {8191, zero, 0}},
                 {{4096, one, 4096}, {1, two, 0}, {4095, two, 1}},
                 {{4096, one, 4096}, {4096, two, 0}},
                 {{4096, one, 0}, {4096, zero, 0}}},
                run);
  run.finish();
  EXPECT_THAT(shown(compare_backups(context(), before, after)),
              ElementsAre("* file3: content", "* file4: content"));
}

// Tables of many pieces, of which all but a few are the same.
TEST_F(DifferenceTest, FindsTheFewOfManyThatChanged) {
  std::vector<FileEntry> entries;
  for (int i = 10'000; i < 15'000; ++i) {
    FileEntry& entry = entries.emplace_back();
    entry.path = "file" + std::to_string(i);
    entry.mode = 0644;
  }
  repository::StoreRun run(context());
  BackupRecord before, after;
  before.file_table = repository::store_file_table(entries, *run.writer);
  entries[100].mode = 0600;
  entries[2500].path += "-new";
  entries.erase(entries.begin() + 4999);
  entries.erase(entries.begin());
  after.file_table = repository::store_file_table(entries, *run.writer);
  run.finish();
  EXPECT_GT(before.file_table.size(), 10u);
  EXPECT_THAT(shown(compare_backups(context(), before, after)),
              ElementsAre("- file10000", "* file10100: mode 0644 to 0600", "- file12500",
                          "+ file12500-new", "- file14999"));
}

}  // namespace
}  // namespace holdfast::files
