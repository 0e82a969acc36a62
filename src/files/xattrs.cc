#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "files/file_reader.h"

namespace holdfast::files {
namespace {

// Calls get(buffer, size) until what it gives fits: the attributes may grow meanwhile. False on an
// error, which is in errno.
template <typename Get>
bool read_whole(std::string& out, Get get) {
  out.resize(256);
  for (;;) {
    const ssize_t size = get(out.data(), out.size());
    if (size >= 0) {
      out.resize(static_cast<std::size_t>(size));
      return true;
    }
    if (errno != ERANGE) return false;
    const ssize_t needed = get(nullptr, 0);
    if (needed < 0) return false;
    out.resize(static_cast<std::size_t>(needed) + 64);
  }
}

}  // namespace

std::vector<repository::ExtendedAttribute> read_xattrs(int fd, std::string& problem) {
  std::vector<repository::ExtendedAttribute> result;
  std::string names;
  if (!read_whole(names,
                  [&](char* out, std::size_t size) { return ::flistxattr(fd, out, size); })) {
    if (errno != ENOTSUP) problem = std::strerror(errno);
    return result;
  }
  std::size_t total = 0;
  for (std::size_t at = 0; at < names.size();) {
    const char* const name = names.c_str() + at;
    at += std::strlen(name) + 1;
    repository::ExtendedAttribute xattr{name, {}};
    const bool there = read_whole(
        xattr.value, [&](char* out, std::size_t size) { return ::fgetxattr(fd, name, out, size); });
    if (!there) {
      // Without its name, which may be a secret's.
      if (errno != ENODATA) {
        problem = std::string("an extended attribute cannot be read: ") + std::strerror(errno);
      }
      continue;
    }
    total += xattr.name.size() + xattr.value.size();
    if (total > repository::kMaxXattrBytes) {
      problem = "its extended attributes are larger than 1 MiB";
      break;
    }
    result.push_back(std::move(xattr));
  }
  std::sort(result.begin(), result.end());
  return result;
}

}  // namespace holdfast::files
