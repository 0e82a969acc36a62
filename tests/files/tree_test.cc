#include "files/tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <map>
#include <thread>

#include "base/error.h"
#include "files/open_beneath.h"
#include "storage/temporary_directory.h"

namespace holdfast::files {
namespace {

namespace fs = std::filesystem;
using repository::FileEntry;
using repository::FileType;
using testing::ElementsAre;

constexpr uid_t kNobody = 65534;

// Whom no right is given but those that files have.
class AsNobody {
 public:
  AsNobody() : was_(::geteuid()) {
    if (was_ == 0 && ::seteuid(kNobody) != 0) throw std::runtime_error("seteuid failed");
  }
  AsNobody(const AsNobody&) = delete;
  AsNobody& operator=(const AsNobody&) = delete;
  ~AsNobody() {
    if (::seteuid(was_) != 0) std::abort();
  }

 private:
  const uid_t was_;
};

class TreeTest : public testing::Test {
 protected:
  TreeTest() { fs::permissions(root(), fs::perms{0755}); }

  const fs::path& root() const { return directory_.path(); }
  void write(const fs::path& path, std::string_view content = "x") {
    fs::create_directories((root() / path).parent_path());
    std::ofstream(root() / path) << content;
  }
  Tree list(const Selection& selection = Selection({}, {})) {
    return list_tree(root(), selection, std::stop_token());
  }
  static std::vector<std::string> paths_of(const Tree& tree) {
    std::vector<std::string> paths;
    for (const FileEntry& entry : tree.entries) paths.push_back(entry.path);
    return paths;
  }
  static const FileEntry& at(const Tree& tree, std::string_view path) {
    for (const FileEntry& entry : tree.entries) {
      if (entry.path == path) return entry;
    }
    throw std::runtime_error("no entry " + std::string(path));
  }
  static std::map<std::string, std::string> words_of(const std::vector<Problem>& problems) {
    std::map<std::string, std::string> words;
    for (const Problem& problem : problems) words[problem.path] = problem.what;
    return words;
  }

  storage::TemporaryDirectory directory_;
};

TEST_F(TreeTest, ListsInTheOrderOfATable) {
  for (const char* path : {"a/b", "a-b/c", "a.b/c", "a0", "a/b-c/d", "a/b/", "é/ü", "A"}) {
    if (std::string_view(path).ends_with('/')) continue;
    write(path);
  }
  fs::create_directories(root() / "empty");
  EXPECT_THAT(paths_of(list()), ElementsAre("A", "a", "a-b", "a-b/c", "a.b", "a.b/c", "a/b",
                                            "a/b-c", "a/b-c/d", "a0", "empty", "é", "é/ü"));
}

TEST_F(TreeTest, TellsEverythingAboutAnEntry) {
  write("file", "twelve bytes");
  fs::create_symlink("../some/where", root() / "link");
  fs::create_directory(root() / "directory");
  ASSERT_EQ(::mkfifo((root() / "fifo").c_str(), 0640), 0);
  ASSERT_EQ(::chmod((root() / "file").c_str(), 04711), 0);
  ASSERT_EQ(::chmod((root() / "directory").c_str(), 01770), 0);
  // -1.5 s and a little less than a microsecond: before 1970.
  const timespec times[] = {{.tv_sec = 5, .tv_nsec = 0}, {.tv_sec = -2, .tv_nsec = 499'999'123}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (root() / "file").c_str(), times, 0), 0);
  struct stat status {};
  ASSERT_EQ(::lstat((root() / "file").c_str(), &status), 0);

  const Tree tree = list();
  const FileEntry& file = at(tree, "file");
  EXPECT_EQ(file.type, FileType::kFile);
  EXPECT_EQ(file.mode, 04711u);
  EXPECT_EQ(file.size_bytes, 12u);
  EXPECT_EQ(file.uid, ::geteuid());
  EXPECT_EQ(file.gid, status.st_gid);
  if (::geteuid() == 0) {
    EXPECT_EQ(file.owner, "root");
    EXPECT_EQ(file.group, "root");
  }
  EXPECT_EQ(file.modified.time_since_epoch().count(), -1'500'001);
  EXPECT_EQ(file.modified_ns, 123u);
  ASSERT_TRUE(file.sighting);
  EXPECT_EQ(file.sighting->inode, status.st_ino);
  EXPECT_EQ(file.sighting->changed_ns,
            status.st_ctim.tv_sec * 1'000'000'000 + status.st_ctim.tv_nsec);
  EXPECT_EQ(at(tree, "link").type, FileType::kSymlink);
  EXPECT_EQ(at(tree, "link").link_target, "../some/where");
  EXPECT_EQ(at(tree, "link").size_bytes, 0u);
  EXPECT_EQ(at(tree, "fifo").type, FileType::kFifo);
  EXPECT_EQ(at(tree, "directory").type, FileType::kDirectory);
  EXPECT_EQ(at(tree, "directory").mode, 01770u);
  EXPECT_EQ(tree.root.path, "");
  EXPECT_EQ(tree.root.type, FileType::kDirectory);
  EXPECT_EQ(tree.root.mode, 0755u);
  EXPECT_FALSE(tree.root.on_the_way);
  EXPECT_TRUE(tree.unreadable.empty());
  EXPECT_TRUE(tree.left_out.empty());
}

TEST_F(TreeTest, AnOwnerWithoutANameHasANumber) {
  if (::geteuid() != 0) GTEST_SKIP() << "SKIPPED: only root gives files away";
  write("file");
  ASSERT_EQ(::chown((root() / "file").c_str(), 3'000'000'001u, 3'000'000'002u), 0);
  const Tree tree = list();
  EXPECT_EQ(at(tree, "file").uid, 3'000'000'001u);
  EXPECT_EQ(at(tree, "file").gid, 3'000'000'002u);
  EXPECT_EQ(at(tree, "file").owner, "");
  EXPECT_EQ(at(tree, "file").group, "");
}

TEST_F(TreeTest, LaterNamesOfAFileTellTheFirst) {
  write("b/file", "one");
  fs::create_hard_link(root() / "b/file", root() / "c");
  fs::create_hard_link(root() / "b/file", root() / "b-1");
  write("other", "one");
  const Tree tree = list();
  EXPECT_EQ(at(tree, "b-1").hard_link, "");
  EXPECT_EQ(at(tree, "b/file").hard_link, "b-1");
  EXPECT_EQ(at(tree, "c").hard_link, "b-1");
  EXPECT_EQ(at(tree, "other").hard_link, "");
  // Among what is taken, that is.
  EXPECT_EQ(at(list(Selection({}, {"b-1"})), "c").hard_link, "b/file");
}

TEST_F(TreeTest, TellsWhatIsLeftOut) {
  write("file");
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", root().c_str());
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ::close(fd);
  const bool with_device = ::mknod((root() / "null").c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0;
  const Tree tree = list();
  EXPECT_THAT(paths_of(tree), ElementsAre("file"));
  EXPECT_EQ(words_of(tree.left_out)["socket"], "a socket");
  if (with_device) {
    EXPECT_EQ(words_of(tree.left_out)["null"], "a device");
  }
  EXPECT_TRUE(list(Selection({"file"}, {})).left_out.empty());
}

TEST_F(TreeTest, DoesNotEnterWhatTheKernelShows) {
  struct stat above {
  }, below{};
  if (::stat("/", &above) != 0 || ::stat("/proc", &below) != 0 || above.st_dev == below.st_dev) {
    GTEST_SKIP() << "SKIPPED: /proc is not mounted";
  }
  const Tree tree = list_tree("/", Selection({"/proc/"}, {}), std::stop_token());
  EXPECT_THAT(paths_of(tree), ElementsAre("proc"));
  EXPECT_EQ(words_of(tree.left_out)["proc"], "what the kernel shows there (proc)");
}

TEST_F(TreeTest, KeepsOnlyTheDirectoriesThatLeadToWhatWasAskedFor) {
  write("app/x/.env");
  write("app/x/other");
  write("app/y/file");
  write("secure/a.pem");
  write("secure/below/b.pem");
  write("all/in/it");
  fs::create_directories(root() / "all/empty");
  const Tree tree = list(Selection({"/app/*/.env", "/secure/*.pem", "all/"}, {}));
  EXPECT_THAT(paths_of(tree), ElementsAre("all", "all/empty", "all/in", "all/in/it", "app", "app/x",
                                          "app/x/.env", "secure", "secure/a.pem"));
  for (const FileEntry& entry : tree.entries) {
    const bool leads = entry.path == "app" || entry.path == "app/x" || entry.path == "secure";
    EXPECT_EQ(entry.on_the_way, leads) << entry.path;
  }
  EXPECT_TRUE(tree.root.on_the_way);
}

TEST_F(TreeTest, ReportsWhatItMayNotListAndGoesOn) {
  write("a/file");
  write("closed/file");
  write("z");
  fs::permissions(root() / "closed", fs::perms::none);
  Tree tree, elsewhere;
  {
    const AsNobody nobody;
    tree = list();
    elsewhere = list(Selection({"/a/*"}, {}));
    EXPECT_THROW(list_tree(root() / "closed", Selection({}, {}), {}), base::Error);
  }
  EXPECT_THAT(paths_of(tree), ElementsAre("a", "a/file", "closed", "z"));
  EXPECT_THAT(words_of(tree.unreadable), ElementsAre(std::pair<const std::string, std::string>(
                                             "closed", "Permission denied")));
  EXPECT_TRUE(elsewhere.unreadable.empty());  // nobody asked for anything in there
  fs::permissions(root() / "closed", fs::perms::owner_all);
}

TEST_F(TreeTest, RefusesARootThatIsNone) {
  write("file");
  for (const char* root_name : {"missing", "file", "file/below"}) {
    try {
      list_tree(root() / root_name, Selection({}, {}), {});
      FAIL() << root_name;
    } catch (const base::Error& error) {
      EXPECT_EQ(error.kind(), base::ErrorKind::kNotFound) << root_name;
    }
  }
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(list_tree(root(), Selection({}, {}), stop.get_token()), base::Error);
}

TEST_F(TreeTest, FollowsALinkForTheRootAlone) {
  write("real/file");
  fs::create_directory_symlink("real", root() / "alias");
  const Tree tree = list_tree(root() / "alias", Selection({}, {}), {});
  EXPECT_THAT(paths_of(tree), ElementsAre("file"));
  EXPECT_THAT(paths_of(list()), ElementsAre("alias", "real", "real/file"));
}

// Deeper than any path, and with few descriptors to spare.
TEST_F(TreeTest, WalksAsDeepAsThereArePaths) {
  constexpr int kDepth = 2'200;  // the 2,049th has no path that can be stored
  const fs::path before = fs::current_path();
  fs::current_path(root());
  for (int i = 0; i < kDepth; ++i) {
    ASSERT_EQ(::mkdir("d", 0755), 0);
    ASSERT_EQ(::chdir("d"), 0);
  }
  ASSERT_EQ(::chdir(before.c_str()), 0);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit little{.rlim_cur = 24, .rlim_max = limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &little), 0);
  const Tree tree = list();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(tree.entries.size(), 2048u);
  EXPECT_EQ(tree.entries.back().path.size(), 4095u);
  ASSERT_EQ(tree.unreadable.size(), 1u);
  EXPECT_EQ(tree.unreadable.front().what, "its path is longer than 4096 bytes");
  EXPECT_EQ(std::system(("rm -rf '" + root().string() + "/d'").c_str()), 0);
}

TEST_F(TreeTest, ListsAtTheLimitOfPaths) {
  const std::string name(240, 'n');
  const fs::path before = fs::current_path();
  fs::current_path(root());
  // 16 directories of 241 bytes each with their slash, and one that ends at 4,094.
  for (int i = 0; i < 17; ++i) {
    const std::string each = i < 16 ? name : std::string(4094 - 16 * 241, 'm');
    ASSERT_EQ(::mkdir(each.c_str(), 0755), 0);
    ASSERT_EQ(::chdir(each.c_str()), 0);
  }
  std::ofstream("f") << "x";
  std::ofstream("gg") << "x";
  ASSERT_EQ(::chdir(before.c_str()), 0);
  const Tree tree = list();
  ASSERT_EQ(tree.entries.size(), 18u);
  EXPECT_EQ(tree.entries.back().path.size(), 4096u);
  ASSERT_EQ(tree.unreadable.size(), 1u);
  EXPECT_EQ(tree.unreadable.front().path.size(), 4097u);
  TreeOpener opener(root());
  const base::UniqueFd file(opener.open(tree.entries.back().path, O_RDONLY));
  EXPECT_TRUE(file) << errno;
}

TEST_F(TreeTest, OpensWithoutFollowingLinks) {
  write("a/b/file", "inside");
  write("a/other", "other");
  fs::create_directory_symlink("a", root() / "way");
  fs::create_symlink("b/file", root() / "a/link");
  fs::create_directory_symlink("/etc", root() / "a/out");
  TreeOpener opener(root());
  for (const char* good : {"a/b/file", "a/b/file", "a/other", "a"}) {
    EXPECT_TRUE(base::UniqueFd(opener.open(good, O_RDONLY))) << good;
  }
  for (const char* bad : {"way/other", "a/link", "a/out/passwd", "../x", "a/../../etc/passwd",
                          "a/..", "..", "/etc/passwd", "a/missing", "missing/file", "a/other/x"}) {
    errno = 0;
    EXPECT_EQ(opener.open(bad, O_RDONLY), -1) << bad;
    EXPECT_NE(errno, 0) << bad;
  }
  EXPECT_EQ(::faccessat(opener.parent("a/b/file"), "file", R_OK, 0), 0);
  EXPECT_EQ(::faccessat(opener.parent("a"), "a", R_OK, 0), 0);
  EXPECT_EQ(TreeOpener::name_of("a/b/file"), "file");
  EXPECT_EQ(TreeOpener::name_of("file"), "file");
  try {
    opener.parent("missing/file");
    FAIL();
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::kNotFound);
    EXPECT_EQ(error.system_errno(), ENOENT);
  }
  EXPECT_THROW(opener.parent("way/other"), base::Error);
}

// A directory that comes and goes, or is exchanged for a link that leads out.
TEST_F(TreeTest, NeverLeavesTheRootWhateverHappensMeanwhile) {
  write("inside/a/file");
  write("inside/last");
  write("outside/stranger/file");
  std::jthread other([&](const std::stop_token& stop) {
    const fs::path place = root() / "inside/moving";
    while (!stop.stop_requested()) {
      fs::create_directories(place / "below/deeper");
      fs::rename(place, root() / "aside");
      fs::create_directory_symlink("../outside", place);
      fs::remove(place);
      fs::remove_all(root() / "aside");
    }
  });
  std::size_t problems = 0;
  for (int round = 0; round < 1000; ++round) {
    const Tree tree = list_tree(root() / "inside", Selection({}, {}), {});
    for (const FileEntry& entry : tree.entries) {
      ASSERT_EQ(entry.path.find("stranger"), std::string::npos) << entry.path;
    }
    EXPECT_EQ(at(tree, "a/file").type, FileType::kFile);
    EXPECT_EQ(at(tree, "last").type, FileType::kFile);
    for (const Problem& problem : tree.unreadable) {
      EXPECT_TRUE(problem.path.starts_with("moving")) << problem.path;
      EXPECT_THAT(problem.what,
                  testing::AnyOf("vanished", "it was replaced while it was looked at"));
      ++problems;
    }
  }
  RecordProperty("problems", std::to_string(problems));
}

// Both ways to open, of which a kernel uses one.
TEST_F(TreeTest, StepByStepIsAsGoodAsAtOnce) {
  write("a/b/file");
  fs::create_directory_symlink("a", root() / "way");
  fs::create_directory_symlink("..", root() / "a/up");
  const base::UniqueFd top = base::open_file(root(), O_RDONLY | O_DIRECTORY);
  for (auto* open : {open_directory_beneath, walk_to_directory}) {
    for (const char* good : {"", "a", "a/b"}) EXPECT_TRUE(open(top.get(), good)) << good;
    for (const char* bad :
         {"way", "way/b", "a/up", "a/up/a", "..", "a/../a", "/", "/etc", "a/b/file", "missing"}) {
      EXPECT_FALSE(open(top.get(), bad)) << bad;
    }
  }
}

}  // namespace
}  // namespace holdfast::files
