#include "base/file.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/error.h"

namespace holdfast::base {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(std::string_view verb, const fs::path& path) {
  const int error = errno;  // formatting may change it
  throw system_error(error, fmt::format("cannot {} {}", verb, path.native()));
}

fs::path directory_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// Repeats `transfer(done)` until `size` bytes went over or it returns 0; returns the bytes that
// went.
template <typename Transfer>
std::size_t transfer_all(std::size_t size, std::string_view verb, const fs::path& path,
                         Transfer&& transfer) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t now = transfer(done);
    if (now < 0) fail(verb, path);
    if (now == 0) break;
    done += static_cast<std::size_t>(now);
  }
  return done;
}

void expect_all_written(std::size_t done, std::size_t size, const fs::path& path) {
  if (done == size) return;
  errno = EIO;  // POSIX knows no write() of 0 bytes here
  fail("write", path);
}

// Into one allocation where the file does not grow meanwhile, so that a key file leaves no copies.
template <typename Buffer>
Buffer read_whole(const fs::path& path, std::size_t max_size_bytes) {
  const UniqueFd fd = open_file(path, O_RDONLY);
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) fail("read", path);
  Buffer content;
  std::size_t size = 0;
  // One byte more than it says: that is where the end shows. Files in /proc say 0.
  std::size_t wanted = static_cast<std::size_t>(std::max<off_t>(status.st_size, 0)) + 1;
  for (;;) {
    if (wanted > max_size_bytes) wanted = max_size_bytes + 1;
    content.resize(wanted);
    auto* begin = reinterpret_cast<std::uint8_t*>(content.data());
    size += transfer_all(wanted - size, "read", path, [&](std::size_t done) {
      return read(fd.get(), begin + size + done, wanted - size - done);
    });
    if (size > max_size_bytes) {
      throw Error(ErrorKind::kFailed, fmt::format("{} is too large: more than {} bytes",
                                                  path.native(), max_size_bytes));
    }
    if (size < wanted) break;
    wanted = std::max<std::size_t>(4096, wanted * 2);
  }
  content.resize(size);
  return content;
}

// A file under a name of its own beside its later place; removed again unless it was published.
class TemporaryFile {
 public:
  explicit TemporaryFile(const fs::path& target)
      : name_((directory_of(target) / ".holdfast-XXXXXX").native()),
        fd_(mkostemp(name_.data(), O_CLOEXEC)) {
    if (!fd_) fail("create a file in", directory_of(target));
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { remove(); }

  void fill(ByteView bytes, mode_t mode) {
    write_all(fd_.get(), bytes, name_);
    if (fchmod(fd_.get(), mode) != 0) fail("set the mode of", name_);
    fsync_file(fd_.get(), name_);
  }

  void publish_replacing(const fs::path& target) {
    if (rename(name_.c_str(), target.c_str()) != 0) fail("create", target);
    name_.clear();
  }

  // False if the target exists.
  bool publish_new(const fs::path& target) {
    if (link(name_.c_str(), target.c_str()) == 0) {
      remove();
      return true;
    }
    if (errno == EPERM || errno == EOPNOTSUPP) {  // a file system without hard links
      if (renameat2(AT_FDCWD, name_.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) == 0) {
        name_.clear();
        return true;
      }
    }
    if (errno == EEXIST) return false;
    fail("create", target);
  }

 private:
  void remove() {
    if (!name_.empty()) unlink(name_.c_str());
    name_.clear();
  }

  std::string name_;
  UniqueFd fd_;
};

}  // namespace

void UniqueFd::reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

UniqueFd open_file(const fs::path& path, int flags, mode_t mode) {
  UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) fail((flags & O_CREAT) != 0 ? "create" : "open", path);
  return fd;
}

std::optional<UniqueFd> open_if_exists(const fs::path& path, int flags) {
  UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC));
  if (fd) return fd;
  if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
  fail("open", path);
}

std::size_t read_at(int fd, std::uint64_t offset, MutableByteView buffer, const fs::path& path) {
  return transfer_all(buffer.size(), "read", path, [&](std::size_t done) {
    return pread(fd, buffer.data() + done, buffer.size() - done, static_cast<off_t>(offset + done));
  });
}

void write_at(int fd, std::uint64_t offset, ByteView bytes, const fs::path& path) {
  const std::size_t done = transfer_all(bytes.size(), "write", path, [&](std::size_t so_far) {
    return pwrite(fd, bytes.data() + so_far, bytes.size() - so_far,
                  static_cast<off_t>(offset + so_far));
  });
  expect_all_written(done, bytes.size(), path);
}

void write_all(int fd, ByteView bytes, const fs::path& path) {
  const std::size_t done = transfer_all(bytes.size(), "write", path, [&](std::size_t so_far) {
    return write(fd, bytes.data() + so_far, bytes.size() - so_far);
  });
  expect_all_written(done, bytes.size(), path);
}

Bytes read_file(const fs::path& path, std::size_t max_size_bytes) {
  return read_whole<Bytes>(path, max_size_bytes);
}

std::string read_text_file(const fs::path& path, std::size_t max_size_bytes) {
  return read_whole<std::string>(path, max_size_bytes);
}

void fsync_file(int fd, const fs::path& path) {
  if (fsync(fd) != 0) fail("make durable", path);
}

void fsync_directory(const fs::path& path) {
  const UniqueFd fd = open_file(path, O_RDONLY | O_DIRECTORY);
  // EINVAL: this file system has no such thing as an unsynced directory (PostgreSQL's fsync_fname()
  // takes it so too).
  if (fsync(fd.get()) != 0 && errno != EINVAL) fail("make durable", path);
}

void write_file_durably(const fs::path& path, ByteView bytes, mode_t mode) {
  TemporaryFile file(path);
  file.fill(bytes, mode);
  file.publish_replacing(path);
  fsync_directory(directory_of(path));
}

bool create_file_durably(const fs::path& path, ByteView bytes, mode_t mode) {
  TemporaryFile file(path);
  file.fill(bytes, mode);
  if (!file.publish_new(path)) return false;
  fsync_directory(directory_of(path));
  return true;
}

}  // namespace holdfast::base
