#include "storage/directory.h"

#include <gmock/gmock.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <fstream>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "storage/contents.h"
#include "storage/contract.h"
#include "storage/damage.h"
#include "storage/temporary_directory.h"

namespace holdfast::storage {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

ContractSubject directory_subject(std::string name, DirectoryOptions options) {
  struct Parts {
    explicit Parts(DirectoryOptions chosen) : storage(open_directory(directory.path(), chosen)) {}
    TemporaryDirectory directory;
    std::unique_ptr<Storage> storage;
  };
  return {std::move(name), [options] {
            auto parts = std::make_shared<Parts>(options);
            return std::shared_ptr<Storage>(parts, parts->storage.get());
          }};
}

constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();

INSTANTIATE_TEST_SUITE_P(
    Directory, StorageContract,
    testing::Values(directory_subject("directory", {}),
                    directory_subject("directory_all_direct", {.direct_from_bytes = 0}),
                    directory_subject("directory_buffered", {.direct_from_bytes = kNever}),
                    directory_subject("directory_named_files", {.unnamed_files = false})),
    subject_name);

class DirectoryTest : public testing::Test {
 protected:
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(root_)) {
      names.push_back(entry.path().lexically_relative(root_).string());
    }
    return names;
  }
  void write(const fs::path& path, std::string_view text = "text") const {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  std::string message_of(const std::function<void()>& body) const {
    try {
      body();
    } catch (const base::Error& error) {
      EXPECT_EQ(error.kind(), base::ErrorKind::kFailed);
      return error.what();
    }
    return "no error";
  }

  TemporaryDirectory directory_;
  fs::path root_ = directory_.path();
  std::unique_ptr<Storage> storage_ = open_directory(root_);
};

TEST_F(DirectoryTest, AnObjectIsAFileAndNothingElseIsLeft) {
  for (const bool unnamed : {true, false}) {
    const auto storage = open_directory(root_, {.unnamed_files = unnamed});
    const std::string name = unnamed ? "a" : "b";
    storage->put("packs/aa/" + name, make_content(100, 1));
    storage->put("packs/aa/" + name, make_content(100, 2));
    EXPECT_EQ(base::read_file(root_ / "packs/aa" / name, 100), make_content(100, 1));
  }
  EXPECT_THAT(entries(),
              UnorderedElementsAre("packs", "packs/aa", "packs/aa/a", "packs/aa/b", "tmp"));
}

TEST_F(DirectoryTest, OpensOnlyWhatIsThere) {
  EXPECT_THAT(message_of([&] { open_directory(root_ / "missing"); }), HasSubstr("missing"));
  write("file");
  EXPECT_THAT(message_of([&] { open_directory(root_ / "file"); }), HasSubstr("file"));
  EXPECT_FALSE(fs::exists(root_ / "missing"));
}

TEST_F(DirectoryTest, CreatesTheDirectoryAndItsParents) {
  for (const char* name : {"a/b/c", "a/b/c", "d/e/", "f/../g"}) {
    const auto storage = storage::create_directory(root_ / name);
    storage->put("x", {});
  }
  EXPECT_TRUE(fs::exists(root_ / "a/b/c"));
  EXPECT_TRUE(fs::exists(root_ / "d/e"));
  struct stat status;
  ASSERT_EQ(::stat((root_ / "a/b").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u & ~0750u, 0u);
}

TEST_F(DirectoryTest, RightsDoNotDependOnTheUmask) {
  const mode_t before = umask(0077);
  storage_->put("packs/aa/x", make_content(10, 1));
  umask(before);
  struct stat status;
  ASSERT_EQ(::stat((root_ / "packs/aa/x").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777u, 0640u);
  ASSERT_EQ(::stat((root_ / "packs/aa").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777u, 0750u);
}

TEST_F(DirectoryTest, AGroupThatDirectoriesInheritIsKept) {
  ASSERT_EQ(chmod(root_.c_str(), 02770), 0);
  storage_->put("packs/aa/x", make_content(10, 1));
  struct stat status;
  ASSERT_EQ(::stat((root_ / "packs/aa").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777u, 02750u);
}

TEST_F(DirectoryTest, ListsObjectsAndNothingElse) {
  storage_->put("packs/aa/x", make_content(10, 1));
  write("lost+found/#123");
  write("tmp/1-0.unfinished");
  write("packs/aa/a b");
  write("packs/\xc3\xa9/x");
  fs::create_directories(root_ / "packs/empty");
  fs::create_symlink("x", root_ / "packs/aa/link");
  fs::create_symlink("packs", root_ / "linked");
  ASSERT_EQ(mkfifo((root_ / "packs/aa/fifo").c_str(), 0600), 0);
  EXPECT_THAT(names_in(*storage_), ElementsAre("packs/aa/x"));
}

TEST_F(DirectoryTest, DirectoriesMayVanishWhileListing) {
  for (const char* name : {"a/1/x", "a/2/x", "a/3/x"}) storage_->put(name, {});
  std::vector<std::string> seen;
  storage_->list("a/", [&](const ObjectInfo& info) {
    seen.push_back(info.name);
    fs::remove_all(root_ / "a/2");
  });
  EXPECT_THAT(seen, ElementsAre("a/1/x", "a/3/x"));
}

TEST_F(DirectoryTest, DoesNotFollowSymbolicLinks) {
  const TemporaryDirectory elsewhere;
  std::ofstream(elsewhere.path() / "x") << "secret";
  fs::create_symlink(elsewhere.path(), root_ / "packs");
  fs::create_symlink(elsewhere.path() / "x", root_ / "x");
  base::Bytes buffer(10);
  for (const std::string name : {"packs/x", "x"}) {
    SCOPED_TRACE(name);
    const auto link = HasSubstr("symbolic link");
    EXPECT_THAT(message_of([&] { storage_->get(name, 10); }), link);
    EXPECT_THAT(message_of([&] { storage_->read(name, 0, buffer); }), link);
    EXPECT_THAT(message_of([&] { storage_->stat(name); }), link);
    EXPECT_THAT(message_of([&] { storage_->put(name, buffer); }), link);
  }
  EXPECT_THAT(message_of([&] { storage_->put("packs/y", buffer); }), HasSubstr("symbolic link"));
  EXPECT_THAT(message_of([&] { storage_->put("packs/d/y", buffer); }), HasSubstr("symbolic link"));
  EXPECT_FALSE(fs::exists(elsewhere.path() / "y"));
  EXPECT_FALSE(fs::exists(elsewhere.path() / "d"));
}

TEST_F(DirectoryTest, RefusesToPutWhereSomethingElseStands) {
  storage_->put("a/b", {});
  EXPECT_THAT(message_of([&] { storage_->put("a", {}); }), HasSubstr("is no file"));
  EXPECT_THAT(message_of([&] { storage_->put("a/b/c", {}); }), HasSubstr("a/b"));
}

TEST_F(DirectoryTest, ReadSeesWhatOthersDidToTheFile) {
  storage_->put("x", make_content(100, 1));
  storage_->put("y", make_content(100, 2));
  base::Bytes buffer(100);
  ASSERT_EQ(storage_->read("x", 0, buffer), 100u);
  fs::rename(root_ / "y", root_ / "x");
  ASSERT_EQ(storage_->read("x", 0, buffer), 100u);
  EXPECT_EQ(buffer, make_content(100, 2));
  fs::resize_file(root_ / "x", 50);
  EXPECT_EQ(storage_->read("x", 0, buffer), 50u);
  fs::remove(root_ / "x");
  EXPECT_EQ(storage_->read("x", 0, buffer), std::nullopt);
}

TEST_F(DirectoryTest, RemovesWhatKilledRunsLeftADayAgo) {
  const auto age = [&](const fs::path& path, int hours) {
    write(path);
    const timeval then{.tv_sec = time(nullptr) - hours * 3600, .tv_usec = 0};
    const timeval times[2] = {then, then};
    ASSERT_EQ(utimes((root_ / path).c_str(), times), 0);
  };
  age("tmp/1-00ff.unfinished", 25);
  age("tmp/2-00ff.unfinished", 23);
  age("tmp/somebody's", 100);
  age("packs/aa/x", 100);
  open_directory(root_);
  EXPECT_THAT(entries(), UnorderedElementsAre("tmp", "tmp/2-00ff.unfinished", "tmp/somebody's",
                                              "packs", "packs/aa", "packs/aa/x"));
}

TEST_F(DirectoryTest, KnowsTheSpaceLeft) {
  const SpaceInfo space = space_of(root_);
  EXPECT_GT(space.total_bytes, 0u);
  EXPECT_LE(space.free_bytes, space.total_bytes);
  EXPECT_THROW(space_of(root_ / "missing"), base::Error);
}

TEST_F(DirectoryTest, SaysWhereItIs) { EXPECT_EQ(storage_->describe(), root_.string()); }

}  // namespace
}  // namespace holdfast::storage
