// What is restored is as it was, to the nanosecond.
#include <signal.h>
#include <sys/resource.h>

#include "restore_fixture.h"
#include "storage/fault_storage.h"

namespace holdfast::files {
namespace {

using RestoreFilesTest = RestoreTest;

// One of everything.
void make_tree(const fs::path& root) {
  fs::create_directories(root / "etc/conf.d");
  fs::create_directories(root / "empty");
  fs::create_directories(root / "etc.old");
  write_text(root / "etc/app.conf", "port = 8000\n");
  write_text(root / "etc/conf.d/secret", "");
  write_text(root / "etc.old/readonly", "kept");
  write_content(root / "large", repository::random_bytes(20 * 1024 * 1024 + 17, 1));
  write_content(root / "scattered", repository::random_bytes(1024 * 1024 + 1, 2));
  fs::create_symlink("etc/app.conf", root / "link");
  fs::create_symlink("/etc/passwd", root / "absolute");
  fs::create_symlink("../../outside", root / "etc/up");
  fs::create_symlink("nowhere", root / "dangling");
  fs::create_hard_link(root / "etc/app.conf", root / "etc/second");
  fs::create_hard_link(root / "etc/app.conf", root / "third");
  ASSERT_EQ(::mkfifo((root / "fifo").c_str(), 0620), 0);
  write_text(root / "name\nwith \xff bytes", "odd");
  base::Bytes sparse(8 * 1024 * 1024, 0);
  std::fill(sparse.begin() + 3 * 1024 * 1024, sparse.begin() + 3 * 1024 * 1024 + 100,
            std::uint8_t{5});
  write_content(root / "sparse", sparse);
  write_content(root / "zeros", base::Bytes(2 * 1024 * 1024, 0));
}

void give_rights(const fs::path& root) {
  ASSERT_EQ(::setxattr((root / "etc/app.conf").c_str(), "user.origin", "here", 4, 0), 0);
  ASSERT_EQ(::setxattr((root / "empty").c_str(), "user.kind", "\0\1", 2, 0), 0);
  ASSERT_EQ(::lchown((root / "etc/app.conf").c_str(), 1234, 4321), 0);
  ASSERT_EQ(::lchown((root / "link").c_str(), 77, 78), 0);
  ASSERT_EQ(::lchown((root / "fifo").c_str(), 5, 6), 0);
  ASSERT_EQ(::lchown((root / "etc").c_str(), 1, 2), 0);
  fs::permissions(root / "etc/app.conf", fs::perms(0640));
  fs::permissions(root / "etc.old/readonly", fs::perms(0444));
  fs::permissions(root / "scattered", fs::perms(06755));
  fs::permissions(root / "empty", fs::perms(01777));
  fs::permissions(root / "etc.old", fs::perms(0555));
  fs::permissions(root / "etc/conf.d", fs::perms(02750));
  long nanoseconds = 1;
  for (const std::string& path : paths_below(root)) {
    set_modified(root / path, 1'700'000'000 + nanoseconds, 123'456'000 + nanoseconds);
    ++nanoseconds;
  }
  set_modified(root / "link", -5, 999'999'999);
  fs::permissions(root, fs::perms(0750));
  set_modified(root, 1'600'000'000, 987'654'321);
}

TEST_F(RestoreFilesTest, everything_is_as_it_was) {
  make_tree(source_);
  give_rights(source_);
  const auto record = store_tree(source_);
  for (const int workers : {1, 5}) {
    fs::remove_all(to_);
    const RestoreResult result = restore(record, {.to = to_, .workers = workers});
    EXPECT_EQ(snapshot(to_), snapshot(source_));
    EXPECT_TRUE(result.warnings.empty());
    EXPECT_EQ(result.files, 10u);
    const std::uint64_t content = 12 + 4 + 20 * 1024 * 1024 + 17 + 1024 * 1024 + 1 + 3;
    EXPECT_EQ(result.bytes, content + 10 * 1024 * 1024);
    EXPECT_EQ(result.bytes_written, content + kChunk);
    EXPECT_LT(status_of(to_ / "sparse").st_blocks, 1024);
    EXPECT_EQ(status_of(to_ / "zeros").st_blocks, 0);
  }
}

TEST_F(RestoreFilesTest, an_empty_directory_is_restored_to_and_no_other) {
  make_tree(source_);
  const auto record = store_tree(source_);
  fs::create_directories(to_ / "lost+found");
  restore(record);
  fs::remove(to_ / "lost+found");
  set_modified(to_, status_of(source_).st_mtim.tv_sec, status_of(source_).st_mtim.tv_nsec);
  EXPECT_EQ(snapshot(to_), snapshot(source_));

  EXPECT_EQ(error_of_restore(record).kind(), base::ErrorKind::kRefused);
  const fs::path file = directory_.path() / "file";
  write_text(file, "mine");
  EXPECT_EQ(error_of_restore(record, {.to = file}).kind(), base::ErrorKind::kRefused);
  const fs::path link = directory_.path() / "link";
  fs::create_symlink("nowhere", link);
  EXPECT_EQ(error_of_restore(record, {.to = link, .delta = true}).kind(),
            base::ErrorKind::kRefused);
  EXPECT_EQ(text_of(file), "mine");
  EXPECT_FALSE(fs::exists(directory_.path() / "nowhere"));
}

TEST_F(RestoreFilesTest, only_what_is_asked_for) {
  make_tree(source_);
  give_rights(source_);
  const auto record = store_tree(source_);
  const auto restored = [&](std::vector<std::string> only) {
    fs::remove_all(to_);
    restore(record, {.to = to_, .only = std::move(only)});
    return paths_below(to_);
  };
  using Paths = std::vector<std::string>;
  EXPECT_EQ(restored({"etc/conf.d/"}), (Paths{"etc", "etc/conf.d", "etc/conf.d/secret"}));
  EXPECT_EQ(status_of(to_ / "etc").st_uid, 1u);
  EXPECT_EQ(restored({"/etc.old", "fifo"}), (Paths{"etc.old", "etc.old/readonly", "fifo"}));
  EXPECT_EQ(restored({(source_ / "empty").string()}), (Paths{"empty"}));
  EXPECT_EQ(restored({source_.string()}), paths_below(source_));
  EXPECT_EQ(restored({"/"}), paths_below(source_));

  // The first name is not among them.
  EXPECT_EQ(restored({"etc/second", "third"}), (Paths{"etc", "etc/second", "third"}));
  EXPECT_EQ(text_of(to_ / "third"), "port = 8000\n");
  EXPECT_EQ(status_of(to_ / "third").st_ino, status_of(to_ / "etc/second").st_ino);

  fs::remove_all(to_);
  for (const char* nothing : {"etc/non", "et", "../etc", "etc/app.conf/x"}) {
    const base::Error error = error_of_restore(record, {.to = to_, .only = {"empty", nothing}});
    EXPECT_EQ(error.kind(), base::ErrorKind::kNotFound);
    EXPECT_NE(std::string(error.what()).find(nothing), std::string::npos);
  }
  EXPECT_FALSE(fs::exists(to_));
}

TEST_F(RestoreFilesTest, directories_on_the_way_are_made_and_never_changed) {
  make_tree(source_);
  give_rights(source_);
  const auto record = store_tree(source_);
  fs::create_directories(to_ / "etc");
  fs::permissions(to_ / "etc", fs::perms(0711));
  restore(record, {.to = to_, .only = {"etc/app.conf"}, .delta = true});
  EXPECT_EQ(status_of(to_ / "etc").st_mode & 07777, 0711u);
  EXPECT_EQ(status_of(to_ / "etc").st_uid, 0u);
  EXPECT_EQ(text_of(to_ / "etc/app.conf"), "port = 8000\n");
}

TEST_F(RestoreFilesTest, secrets_are_for_their_owner_alone) {
  make_tree(source_);
  give_rights(source_);
  secret_ = true;
  const auto record = store_tree(source_);
  const RestoreResult result = restore(record);
  EXPECT_EQ(status_of(to_).st_mode & 07777, 0700u);
  for (const std::string& path : paths_below(to_)) {
    const struct stat status = status_of(to_ / path);
    const mode_t mode = S_ISDIR(status.st_mode) ? 0700 : S_ISLNK(status.st_mode) ? 0777 : 0600;
    EXPECT_EQ(status.st_mode & 07777, mode) << path;
    EXPECT_EQ(status.st_uid, status_of(source_ / path).st_uid) << path;
  }
  EXPECT_EQ(text_of(to_ / "etc/app.conf"), "port = 8000\n");

  const base::Error error = error_of_restore(record, {.to = to_ / "x", .only = {"etc/canary"}});
  EXPECT_EQ(error.kind(), base::ErrorKind::kNotFound);
  EXPECT_EQ((std::string(error.what()) + error.hint()).find("canary"), std::string::npos);
}

class RecordingProgress final : public base::Progress {
 public:
  void phase(std::string_view name, std::uint64_t) override { add(name); }
  void advance(std::uint64_t) override {}
  void note(std::string_view line) override { add(line); }
  void warning(std::string_view line) override { add(line); }
  void add(std::string_view line) { *text_.lock() += std::string(line) + "\n"; }
  std::string text() { return *text_.lock(); }

 private:
  base::Guarded<std::string> text_;
};

// Files of no more than so many bytes, as where the disk is full.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(RestoreFilesTest, no_message_names_a_secret) {
  fs::create_directories(source_ / "canary");
  write_content(source_ / "canary/canary", repository::random_bytes(20 * kChunk, 3));
  write_content(source_ / "canary2", repository::random_bytes(9 * 1024 * 1024, 4));
  write_text(source_ / "canary3", "canary");
  fs::create_symlink("canary", source_ / "canary4");
  ASSERT_EQ(::setxattr((source_ / "canary3").c_str(), "user.canary", "canary", 6, 0), 0);
  secret_ = true;
  const auto record = store_tree(source_);
  RecordingProgress progress;
  storage::Faults faults;
  storage::FaultStorage failing(*repository_.storage, faults);
  const auto context = repository_.context_of(failing);
  int errors = 0;
  const auto run = [&](bool delta) {
    try {
      const RestoreResult result =
          restore_tree(context, record, {.to = to_, .delta = delta, .secret = true}, progress, {});
      for (const auto& lines : {result.notes, result.warnings}) {
        for (const std::string& line : lines) progress.add(line);
      }
    } catch (const base::Error& error) {
      ++errors;
      progress.add(error.what());
      progress.add(error.hint());
    }
  };
  for (std::size_t n = 1; n == 1 || faults.fired(); ++n) {
    fs::remove_all(to_);
    faults.arm({.at = n, .kind = base::ErrorKind::kDamaged});
    run(false);
  }
  faults.disarm();
  for (const rlim_t bytes : {3, 5000, 8'000'000}) {
    fs::remove_all(to_);
    const FileSizeLimit limit(bytes);
    run(false);
  }
  // What cannot be replaced, or removed.
  fs::remove_all(to_);
  fs::create_directories(to_ / "canary3/canary");
  run(true);
  fs::remove_all(to_);
  fs::create_directories(to_);
  write_text(to_ / "canary", "a file");
  run(true);
  EXPECT_GT(errors, 8);
  EXPECT_NE(progress.text().find("File too large"), std::string::npos);
  EXPECT_NE(progress.text().find("is in the way"), std::string::npos);
  EXPECT_EQ(progress.text().find("canary"), std::string::npos) << progress.text();
}

TEST_F(RestoreFilesTest, many_small_files_in_deep_directories) {
  fs::path deep = source_;
  for (int i = 0; i < 100; ++i) deep /= "d";
  fs::create_directories(deep);
  for (int i = 0; i < 1000; ++i) {
    write_text(deep / std::to_string(i), std::to_string(i * 7));
    write_text(source_ / std::to_string(i), std::to_string(i));
  }
  restore(store_tree(source_), {.to = to_, .workers = 4});
  EXPECT_EQ(snapshot(to_), snapshot(source_));
}

TEST_F(RestoreFilesTest, more_than_the_disk_holds_is_refused_before_anything_is_written) {
  FileEntry file;
  file.path = "huge";
  file.size_bytes = std::uint64_t{1} << 60;
  repository::ChunkId id;
  id.bytes.fill(1);
  for (std::uint64_t i = 0; i < 2; ++i) file.extents.push_back({1024, id, 0});
  file.extent_chunks = {id};
  details_.root_entry.mode = 0755;
  const base::Error error = error_of_restore(store_entries({file}));
  EXPECT_EQ(error.kind(), base::ErrorKind::kNoSpace);
  EXPECT_FALSE(fs::exists(to_));
}

}  // namespace
}  // namespace holdfast::files
