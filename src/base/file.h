// Files by descriptor: every failure is an Error that names the path. Nothing here retries or
// hides.
#pragma once

#include <fcntl.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "base/bytes.h"

namespace holdfast::base {

// Owns a file descriptor.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

// O_CLOEXEC is added. Throws.
UniqueFd open_file(const std::filesystem::path& path, int flags, mode_t mode = 0600);
// Nullopt where there is no such file; throws for everything else.
std::optional<UniqueFd> open_if_exists(const std::filesystem::path& path, int flags);

// Reads until the buffer is full or the file ends; returns the bytes read.
std::size_t read_at(int fd, std::uint64_t offset, MutableByteView buffer,
                    const std::filesystem::path& path);
void write_at(int fd, std::uint64_t offset, ByteView bytes, const std::filesystem::path& path);
void write_all(int fd, ByteView bytes, const std::filesystem::path& path);

// The whole file; throws kFailed if it is larger than `max_size_bytes`.
Bytes read_file(const std::filesystem::path& path, std::size_t max_size_bytes);
std::string read_text_file(const std::filesystem::path& path, std::size_t max_size_bytes);

void fsync_file(int fd, const std::filesystem::path& path);
void fsync_directory(const std::filesystem::path& path);

// Writes to a temporary name beside `path`, fsyncs, renames (replacing), fsyncs the directory.
void write_file_durably(const std::filesystem::path& path, ByteView bytes, mode_t mode);
// The same, but false where `path` exists already; that file is left as it is.
bool create_file_durably(const std::filesystem::path& path, ByteView bytes, mode_t mode);

}  // namespace holdfast::base
