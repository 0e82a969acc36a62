// The directory driver under a full disk, missing rights and SIGKILL.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <random>
#include <thread>

#include "base/error.h"
#include "storage/child.h"
#include "storage/contents.h"
#include "storage/damage.h"
#include "storage/directory.h"
#include "storage/temporary_directory.h"

namespace holdfast::storage {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::size_t kMiB = 1024 * 1024;
constexpr uid_t kNobody = 65534;

class Hardship : public testing::TestWithParam<bool> {
 protected:
  DirectoryOptions options() const { return {.unnamed_files = GetParam()}; }
  std::unique_ptr<Storage> open() const { return open_directory(directory_.path(), options()); }

  TemporaryDirectory directory_;
};

INSTANTIATE_TEST_SUITE_P(Directory, Hardship, testing::Bool(), [](const auto& test) {
  return test.param ? "unnamed_files" : "named_files";
});

// "kind: message [hint]" of the Error that `body` throws.
template <typename Body>
std::string error_of(Body body) {
  try {
    body();
  } catch (const base::Error& error) {
    return fmt::format("{}: {} [{}]", base::info(error.kind()).code, error.what(), error.hint());
  }
  return "no error";
}

std::string fill_a_small_disk(const fs::path& root, const DirectoryOptions& options) {
  if (unshare(CLONE_NEWNS) != 0 ||
      mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("tmpfs", root.c_str(), "tmpfs", 0, "size=8m") != 0) {
    return "cannot mount";
  }
  const auto storage = open_directory(root, options);
  const base::Bytes content = make_content(3 * kMiB, 1);
  storage->put("packs/aa/1", content);
  storage->put("packs/aa/2", content);
  std::string errors;
  for (const std::size_t size : {3 * kMiB, 3 * kMiB + 1, 2 * kMiB + 12345}) {
    errors = error_of([&] { storage->put("packs/bb/3", make_content(size, 2)); });
    if (!errors.starts_with("no_space: ") || errors.find("packs/bb/3") == errors.npos)
      return errors;
  }
  // By small objects too, down to the last block.
  for (int i = 0; errors.starts_with("no_space: ") || errors == "no error"; ++i) {
    const std::string name = fmt::format("wal/{}", i);
    errors = error_of([&] { storage->put(name, make_content(100'000, 3)); });
    if (errors == "no error") continue;
    if (storage->stat(name)) return "a failed put left a name";
    break;
  }
  if (!errors.starts_with("no_space: ")) return errors;
  if (content_of(*storage, "packs/aa/1") != content) return "an old object changed";
  if (content_of(*storage, "packs/aa/2") != content) return "an old object changed";
  if (storage->stat("packs/bb/3")) return "a failed put left a name";
  // Nothing of the failed ones takes space: with one object gone its like fits again.
  storage->remove("packs/aa/1");
  storage->put("packs/bb/3", content);
  return content_of(*storage, "packs/bb/3") == content ? "good" : "wrong content";
}

TEST_P(Hardship, AFullDiskLeavesOldObjectsWholeAndNoName) {
  const std::string result =
      run_in_child([&] { return fill_a_small_disk(directory_.path(), options()); });
  if (result == "cannot mount") {
    GTEST_SKIP() << "NOT RUN: a full disk needs the right to mount a tmpfs (run as root)";
  }
  EXPECT_EQ(result, "good");
}

TEST_P(Hardship, ADirectoryWithoutRightsIsNamedWithItsOwner) {
  open()->put("packs/aa/x", make_content(10, 1));
  const fs::path packs = directory_.path() / "packs";
  ASSERT_EQ(chmod(packs.c_str(), 0), 0);
  ASSERT_EQ(chmod(directory_.path().c_str(), 0555), 0);
  const auto without_rights = [&](auto body) {
    return run_in_child([&]() -> std::string {
      if (geteuid() == 0 && (setgid(kNobody) != 0 || setuid(kNobody) != 0)) return "?";
      const auto storage = open();
      return error_of([&] { body(*storage); });
    });
  };
  const std::string reading =
      without_rights([](Storage& storage) { storage.get("packs/aa/x", 10); });
  EXPECT_THAT(reading, HasSubstr("permission: "));
  EXPECT_THAT(reading, HasSubstr(packs.string() + " belongs to"));
  EXPECT_THAT(reading, HasSubstr("holdfast runs as"));
  const std::string writing = without_rights([](Storage& storage) { storage.put("index/x", {}); });
  EXPECT_THAT(writing, HasSubstr("permission: "));
  EXPECT_THAT(writing, HasSubstr((directory_.path() / "index").string()));
  EXPECT_THAT(writing, HasSubstr(directory_.path().string() + " belongs to"));
  ASSERT_EQ(chmod(directory_.path().c_str(), 0750), 0);
  ASSERT_EQ(chmod(packs.c_str(), 0750), 0);
}

TEST_P(Hardship, WhatRootCreatesBelongsToTheOwnerOfTheDirectory) {
  if (geteuid() != 0) GTEST_SKIP() << "NOT RUN: needs root";
  ASSERT_EQ(chown(directory_.path().c_str(), kNobody, kNobody), 0);
  open()->put("packs/aa/x", make_content(10, 1));
  for (const char* name : {"packs", "packs/aa", "packs/aa/x"}) {
    struct stat status;
    ASSERT_EQ(stat((directory_.path() / name).c_str(), &status), 0);
    EXPECT_EQ(status.st_uid, kNobody) << name;
    EXPECT_EQ(status.st_gid, kNobody) << name;
  }
  EXPECT_EQ(run_in_child([&]() -> std::string {
              if (setgid(kNobody) != 0 || setuid(kNobody) != 0) return "?";
              open()->put("packs/aa/y", make_content(10, 2));
              return content_of(*open(), "packs/aa/x") == make_content(10, 1) ? "good" : "bad";
            }),
            "good");
}

// The size and the content follow from the number, so that any object can be checked alone.
std::string numbered_name(std::uint64_t number) {
  return fmt::format("packs/{:02x}/{}", number % 7, number);
}
base::Bytes numbered_content(std::uint64_t number) {
  const bool large = number % 4 == 0;
  return make_content((large ? 3 * kMiB : 3000) + number % 5000, number);
}

// Puts until it is killed; says on `out` what is done.
[[noreturn]] void put_until_killed(const fs::path& root, const DirectoryOptions& options,
                                   std::uint64_t number, int out) {
  const auto storage = open_directory(root, options);
  base::AlignedBuffer buffer(4 * kMiB);
  for (;; ++number) {
    const base::Bytes content = numbered_content(number);
    std::copy(content.begin(), content.end(), buffer.data());
    storage->put(numbered_name(number), {buffer.data(), content.size()});
    if (write(out, &number, sizeof number) != sizeof number) _exit(1);
  }
}

// Kills a run at a random moment of one of its next puts; returns the number behind the last one
// that was said to be done.
std::uint64_t kill_a_run(const fs::path& root, const DirectoryOptions& options,
                         std::uint64_t number, std::mt19937_64& random) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("no pipe");
  const pid_t child = fork();
  if (child == 0) put_until_killed(root, options, number, ends[1]);
  close(ends[1]);
  std::uint64_t done = 0;
  auto last = std::chrono::steady_clock::now();
  auto duration = std::chrono::steady_clock::duration::zero();
  for (std::uint64_t left = 1 + random() % 4;
       left > 0 && read(ends[0], &done, sizeof done) == sizeof done; --left) {
    number = done + 1;
    duration = std::chrono::steady_clock::now() - last;
    last += duration;
  }
  std::this_thread::sleep_for(duration * (random() % 1000) / 1000);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  while (read(ends[0], &done, sizeof done) == sizeof done) number = done + 1;
  close(ends[0]);
  return number;
}

TEST_P(Hardship, AKillLeavesWholeObjectsAndAWorkingDirectory) {
  std::mt19937_64 random(1);
  std::uint64_t number = 0;
  for (int round = 0; round < 50; ++round) {
    const std::uint64_t first = number;
    number = kill_a_run(directory_.path(), options(), first, random);
    ASSERT_GT(number, first) << "the run did nothing";
    const auto storage = open();
    for (std::uint64_t done = first; done < number; ++done) {
      ASSERT_TRUE(storage->stat(numbered_name(done))) << "said to be done, and lost: " << done;
    }
    for (const std::string& name : names_in(*storage)) {
      std::uint64_t listed = 0;
      const std::string digits = name.substr(name.rfind('/') + 1);
      std::from_chars(digits.data(), digits.data() + digits.size(), listed);
      ASSERT_EQ(name, numbered_name(listed));
      ASSERT_TRUE(content_of(*storage, name) == numbered_content(listed)) << name;
      storage->remove(name);
    }
    ASSERT_EQ(storage->put("works", make_content(2 * kMiB, 1)), PutResult::kCreated);
    ASSERT_TRUE(storage->remove("works"));
  }
}

}  // namespace
}  // namespace holdfast::storage
