#include "base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <iterator>

#include "base/concurrency.h"
#include "base/error.h"

namespace holdfast::base {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class FileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "holdfast-file-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override {
    if (!HasFailure()) fs::remove_all(directory_);
  }

  std::size_t files_in_directory() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(directory_), fs::directory_iterator()));
  }

  fs::path directory_;
};

template <typename Body>
void expect_error(ErrorKind kind, std::string_view message, Body&& body) {
  try {
    body();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(std::string(message)));
  }
}

TEST_F(FileTest, CreatedFilesHaveContentAndExactMode) {
  const mode_t old_mask = umask(077);
  const fs::path path = directory_ / "a";
  EXPECT_TRUE(create_file_durably(path, as_bytes("one"), 0640));
  umask(old_mask);
  EXPECT_EQ(read_text_file(path, 100), "one");
  struct stat status {};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
  EXPECT_EQ(status.st_nlink, 1u);
  EXPECT_EQ(files_in_directory(), 1u) << "a temporary file was left";
}

TEST_F(FileTest, CreationNeverOverwrites) {
  const fs::path path = directory_ / "a";
  ASSERT_TRUE(create_file_durably(path, as_bytes("one"), 0600));
  EXPECT_FALSE(create_file_durably(path, as_bytes("two"), 0600));
  EXPECT_EQ(read_text_file(path, 100), "one");
  EXPECT_EQ(files_in_directory(), 1u);

  // A dangling link is something that exists, too.
  fs::create_symlink("nowhere", directory_ / "link");
  EXPECT_FALSE(create_file_durably(directory_ / "link", as_bytes("two"), 0600));
  EXPECT_FALSE(fs::exists(directory_ / "nowhere"));
}

TEST_F(FileTest, OfManyCreatorsOneWins) {
  const fs::path path = directory_ / "a";
  Guarded<std::vector<std::string>> winners;
  WorkerGroup group;
  for (int i = 0; i < 8; ++i) {
    group.start([&, i](std::stop_token) {
      const std::string content = "writer " + std::to_string(i);
      if (create_file_durably(path, as_bytes(content), 0600)) winners.lock()->push_back(content);
    });
  }
  group.join();
  ASSERT_EQ(winners.lock()->size(), 1u);
  EXPECT_EQ(read_text_file(path, 100), winners.lock()->front());
  EXPECT_EQ(files_in_directory(), 1u);
}

TEST_F(FileTest, WritingReplacesWhole) {
  const fs::path path = directory_ / "a";
  write_file_durably(path, as_bytes("a long first content"), 0600);
  write_file_durably(path, as_bytes("two"), 0600);
  EXPECT_EQ(read_text_file(path, 100), "two");
  EXPECT_EQ(files_in_directory(), 1u);
}

TEST_F(FileTest, FailuresNameThePathAndLeaveNothing) {
  expect_error(ErrorKind::kFailed, (directory_ / "no").native(),
               [&] { create_file_durably(directory_ / "no" / "a", as_bytes("x"), 0600); });
  fs::create_directory(directory_ / "taken");
  expect_error(ErrorKind::kFailed, "taken",
               [&] { write_file_durably(directory_ / "taken", as_bytes("x"), 0600); });
  EXPECT_EQ(files_in_directory(), 1u);
  expect_error(ErrorKind::kFailed, "cannot open", [&] { open_file(directory_ / "b", O_RDONLY); });
  expect_error(ErrorKind::kFailed, "Is a directory", [&] { read_file(directory_, 10); });
}

TEST_F(FileTest, FullDiskIsItsOwnKind) {
  const UniqueFd full = open_file("/dev/full", O_WRONLY);
  expect_error(ErrorKind::kNoSpace, "/dev/full",
               [&] { write_all(full.get(), as_bytes("x"), "/dev/full"); });
}

TEST_F(FileTest, ReadsUpToTheLimitAndNoFurther) {
  const fs::path path = directory_ / "a";
  for (const std::size_t size : {0u, 1u, 4095u, 4096u, 4097u, 100'000u}) {
    Bytes content(size);
    for (std::size_t i = 0; i < size; ++i) content[i] = static_cast<std::uint8_t>(i * 31);
    write_file_durably(path, content, 0600);
    EXPECT_EQ(read_file(path, size), content);
    EXPECT_EQ(read_file(path, std::numeric_limits<std::size_t>::max()), content);
    if (size > 0) {
      expect_error(ErrorKind::kFailed, "too large", [&] { read_file(path, size - 1); });
    }
  }
}

TEST_F(FileTest, ReadsFilesThatSayTheyAreEmpty) {
  EXPECT_THAT(read_text_file("/proc/self/status", 1 << 20), HasSubstr("VmPeak"));
}

TEST_F(FileTest, OpensIfThere) {
  EXPECT_FALSE(open_if_exists(directory_ / "a", O_RDONLY));
  write_file_durably(directory_ / "a", as_bytes("x"), 0600);
  EXPECT_FALSE(open_if_exists(directory_ / "a" / "b", O_RDONLY));
  const auto fd = open_if_exists(directory_ / "a", O_RDONLY);
  ASSERT_TRUE(fd);
  EXPECT_EQ(fcntl(fd->get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  fs::create_symlink("loop", directory_ / "loop");
  expect_error(ErrorKind::kFailed, "loop", [&] { open_if_exists(directory_ / "loop", O_RDONLY); });
}

TEST_F(FileTest, ReadsAndWritesAtOffsets) {
  const fs::path path = directory_ / "a";
  const UniqueFd fd = open_file(path, O_RDWR | O_CREAT | O_EXCL);
  write_at(fd.get(), 5, as_bytes("world"), path);
  write_at(fd.get(), 0, as_bytes("hello"), path);
  Bytes buffer(20);
  EXPECT_EQ(read_at(fd.get(), 0, buffer, path), 10u);
  EXPECT_EQ(as_text(ByteView(buffer).first(10)), "helloworld");
  EXPECT_EQ(read_at(fd.get(), 8, buffer, path), 2u);
  EXPECT_EQ(read_at(fd.get(), 10, buffer, path), 0u);
  fsync_file(fd.get(), path);
  fsync_directory(directory_);
}

TEST(UniqueFdTest, ClosesOnceAndMoves) {
  int raw = -1;
  {
    UniqueFd first = open_file("/dev/null", O_RDONLY);
    raw = first.get();
    UniqueFd second = std::move(first);
    EXPECT_FALSE(first);
    EXPECT_EQ(second.get(), raw);
    EXPECT_GE(fcntl(raw, F_GETFD), 0);
  }
  EXPECT_EQ(fcntl(raw, F_GETFD), -1);
}

}  // namespace
}  // namespace holdfast::base
