#include "storage/new_file.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>  // renameat2()
#include <ctime>
#include <memory>

namespace holdfast::storage {
namespace fs = std::filesystem;
namespace {

constexpr mode_t kFileMode = 0640;
constexpr const char* kTemporaryDirectory = "tmp";
constexpr std::string_view kTemporarySuffix = ".unfinished";
constexpr std::size_t kPieceBytes = 4 * 1024 * 1024;
constexpr std::time_t kStaleAfterSeconds = 24 * 60 * 60;

std::string temporary_name() {
  std::uint64_t number = 0;
  if (getrandom(&number, sizeof number, 0) != static_cast<ssize_t>(sizeof number)) {
    throw base::system_error(errno, "cannot get random bytes");
  }
  return fmt::format("{}-{:016x}{}", getpid(), number, kTemporarySuffix);
}

std::string descriptor_path(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

}  // namespace

NewFile::TemporaryName::~TemporaryName() {
  if (!name.empty()) unlinkat(directory.get(), name.c_str(), 0);
}

NewFile::NewFile(const DirectoryTree& tree, const DirectoryOptions& options, fs::path path)
    : tree_(tree), path_(std::move(path)), direct_from_bytes_(options.direct_from_bytes) {
  if (!options.unnamed_files || !open_unnamed()) open_named();
  tree_.set_rights(fd_.get(), kFileMode, path_);
}

// False where the file system or the kernel has no such files, or no /proc gives them a name later.
bool NewFile::open_unnamed() {
  const int fd = openat(tree_.root_fd(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, kFileMode);
  if (fd < 0) {
    if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL || errno == ENOENT) return false;
    throw path_error(errno, "write", path_);
  }
  fd_ = base::UniqueFd(fd);
  return access(descriptor_path(fd).c_str(), F_OK) == 0;
}

void NewFile::open_named() {
  const fs::path path = tree_.path_of(kTemporaryDirectory);
  tree_.make_directory(tree_.root_fd(), kTemporaryDirectory, path);
  auto directory = tree_.open_directory(tree_.root_fd(), kTemporaryDirectory, O_PATH, path);
  if (!directory) throw path_error(ENOTDIR, "make the directory", path);
  temporary_.directory = std::move(*directory);
  std::string name = temporary_name();
  fd_ = base::UniqueFd(openat(temporary_.directory.get(), name.c_str(),
                              O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kFileMode));
  if (!fd_) throw path_error(errno, "write", path / name);
  temporary_.name = std::move(name);
  flock(fd_.get(), LOCK_EX);  // see remove_stale_files(); without it, age alone protects the file
}

void NewFile::write(base::ByteView content) {
  const bool large = content.size() >= direct_from_bytes_;
  const bool aligned =
      reinterpret_cast<std::uintptr_t>(content.data()) % base::AlignedBuffer::kAlignment == 0;
  bool direct = large && aligned && set_direct(true);
  // Not for direct writes: each would then wait for its extent to be marked as written.
  if (large && !direct) reserve(content.size());
  for (std::size_t done = 0; done < content.size();) {
    std::size_t piece = std::min(content.size() - done, kPieceBytes);
    if (direct && piece < base::AlignedBuffer::kAlignment) direct = set_direct(false);
    if (direct) piece -= piece % base::AlignedBuffer::kAlignment;
    const ssize_t written =
        pwrite(fd_.get(), content.data() + done, piece, static_cast<off_t>(done));
    if (written <= 0) {
      if (written < 0 && errno == EINTR) continue;
      if (written < 0 && errno == EINVAL && direct) {
        direct = set_direct(false);
        continue;
      }
      throw path_error(written < 0 ? errno : EIO, "write", path_);
    }
    // Starts the write-out of this piece now; a hint, whose failure fsync would report.
    if (large && !direct) {
      sync_file_range(fd_.get(), static_cast<off_t>(done), written, SYNC_FILE_RANGE_WRITE);
    }
    done += static_cast<std::size_t>(written);
  }
  if (fdatasync(fd_.get()) != 0) throw path_error(errno, "write", path_);
  // The pages would push out those that a server on this machine needs more.
  if (large) posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);
}

// In one piece on the disk where possible; and a full disk shows before anything is written.
void NewFile::reserve(std::size_t size_bytes) {
  int result;
  do {
    result = fallocate(fd_.get(), 0, 0, static_cast<off_t>(size_bytes));
  } while (result != 0 && errno == EINTR);
  if (result != 0 && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL) {
    throw path_error(errno, "write", path_);
  }
}

// Whether O_DIRECT is in force now.
bool NewFile::set_direct(bool on) {
  const int flags = fcntl(fd_.get(), F_GETFL);
  if (flags < 0) throw path_error(errno, "write", path_);
  if (fcntl(fd_.get(), F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0) return on;
  if (!on) throw path_error(errno, "write", path_);
  return false;
}

bool NewFile::publish(const Place& place) {
  const int error = link_to(place);
  struct stat status;
  // A network file system may have lost the answer and said EEXIST to its own second request.
  const bool was_ours = error == EEXIST && !temporary_.name.empty() &&
                        fstat(fd_.get(), &status) == 0 && status.st_nlink == 2;
  if (error == EEXIST && !was_ours) return false;
  if (error != 0 && !was_ours) throw path_error(error, "create", path_);
  // The file again, since btrfs does not log one that has no name: before, only the data went to
  // the disk. Neither sync waits for the other: the disk then flushes its cache once for both.
  base::WorkerGroup beside;
  beside.start([&](const std::stop_token&) { base::fsync_file(fd_.get(), path_); });
  sync_directory(place.directory, path_.parent_path());
  beside.join();
  return true;
}

// Zero or an errno.
int NewFile::link_to(const Place& place) {
  if (temporary_.name.empty()) {
    const int linked = linkat(AT_FDCWD, descriptor_path(fd_.get()).c_str(), place.directory.get(),
                              place.file.c_str(), AT_SYMLINK_FOLLOW);
    return linked == 0 ? 0 : errno;
  }
  if (linkat(temporary_.directory.get(), temporary_.name.c_str(), place.directory.get(),
             place.file.c_str(), 0) == 0) {
    return 0;
  }
  // Without hard links (FAT, some network shares): a rename that does not overwrite.
  if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS) return errno;
  if (renameat2(temporary_.directory.get(), temporary_.name.c_str(), place.directory.get(),
                place.file.c_str(), RENAME_NOREPLACE) != 0) {
    return errno;
  }
  temporary_.name.clear();
  return 0;
}

void remove_stale_files(const DirectoryTree& tree) {
  const base::UniqueFd directory(
      openat(tree.root_fd(), kTemporaryDirectory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) return;
  const int own = fcntl(directory.get(), F_DUPFD_CLOEXEC, 0);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(own < 0 ? nullptr : fdopendir(own), closedir);
  if (!stream) return;
  while (const dirent* const entry = readdir(stream.get())) {
    if (!std::string_view(entry->d_name).ends_with(kTemporarySuffix)) continue;
    const base::UniqueFd file(
        openat(directory.get(), entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat status;
    if (!file || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    const bool old = std::time(nullptr) - status.st_mtim.tv_sec > kStaleAfterSeconds;
    if (old && flock(file.get(), LOCK_EX | LOCK_NB) == 0) {
      unlinkat(directory.get(), entry->d_name, 0);
    }
  }
}

}  // namespace holdfast::storage
