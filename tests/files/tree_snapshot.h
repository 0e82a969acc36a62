// Trees on disk: how to make them, and all that a backup of one is to keep, to be compared exactly.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/file.h"
#include "crypto/hash.h"

namespace holdfast::files {

namespace fs = std::filesystem;

inline std::map<std::string, std::string> xattrs_of(const fs::path& path) {
  std::string names(64 * 1024, '\0');
  const ssize_t size = ::llistxattr(path.c_str(), names.data(), names.size());
  names.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
  std::map<std::string, std::string> found;
  for (std::size_t at = 0; at < names.size(); at = names.find('\0', at) + 1) {
    const std::string name = names.c_str() + at;
    std::string value(64 * 1024, '\0');
    const ssize_t length = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    found[name] = value.substr(0, length < 0 ? 0 : static_cast<std::size_t>(length));
  }
  return found;
}

inline struct stat status_of(const fs::path& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) throw std::runtime_error("lstat " + path.string());
  return status;
}

// Every name below a root, in the order of the paths, without following links.
inline std::vector<std::string> paths_below(const fs::path& root) {
  std::vector<std::string> paths;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    paths.push_back(entry.path().lexically_relative(root).string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

inline base::Bytes content_of(const fs::path& path) {
  return base::read_file(path, std::size_t{1} << 30);
}

// All that a backup is to keep, a line for each entry ("." is the root).
inline std::map<std::string, std::string> snapshot(const fs::path& root) {
  std::map<std::string, std::string> found;
  std::map<ino_t, std::string> first_names;
  std::vector<std::string> paths = paths_below(root);
  paths.insert(paths.begin(), ".");
  for (const std::string& path : paths) {
    const fs::path full = root / path;
    const struct stat status = status_of(full);
    std::string line =
        fmt::format("mode {:o} owner {}:{} time {}.{:09}", status.st_mode, status.st_uid,
                    status.st_gid, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
    for (const auto& [name, value] : xattrs_of(full)) {
      line += fmt::format(" {}={}", name, base::to_hex(base::as_bytes(value)));
    }
    if (S_ISLNK(status.st_mode)) line += " -> " + fs::read_symlink(full).string();
    if (S_ISREG(status.st_mode)) {
      const base::Bytes content = content_of(full);
      line += fmt::format(" {} bytes {} links {} first {}", content.size(),
                          base::to_hex(crypto::sha256(content)), status.st_nlink,
                          first_names.try_emplace(status.st_ino, path).first->second);
    }
    found[path] = line;
  }
  return found;
}

inline void write_content(const fs::path& path, base::ByteView content) {
  const base::UniqueFd fd = base::open_file(path, O_WRONLY | O_CREAT | O_TRUNC);
  base::write_all(fd.get(), content, path);
}
inline void write_text(const fs::path& path, std::string_view text) {
  write_content(path, base::as_bytes(text));
}
inline std::string text_of(const fs::path& path) {
  const base::Bytes content = content_of(path);
  return std::string(base::as_text(content));
}

inline void set_modified(const fs::path& path, std::int64_t seconds, long nanoseconds) {
  const timespec times[2] = {{0, UTIME_OMIT}, {seconds, nanoseconds}};
  if (::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
    throw std::runtime_error("utimensat " + path.string());
  }
}

}  // namespace holdfast::files
