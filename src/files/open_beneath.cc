#include "files/open_beneath.h"

#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "files/pattern.h"
#include "repository/file_table.h"

namespace holdfast::files {
namespace {

constexpr int kFlags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

}  // namespace

base::UniqueFd walk_to_directory(int root, std::string_view path) {
  base::UniqueFd directory(::openat(root, ".", kFlags));
  while (directory && !path.empty()) {
    const std::string part(take_part(path));
    if (part.empty() || part == "..") {
      errno = EXDEV;  // as openat2 has it
      return {};
    }
    directory = base::UniqueFd(::openat(directory.get(), part.c_str(), kFlags));
  }
  return directory;
}

base::UniqueFd open_directory_beneath(int root, std::string_view path) {
  // Within the root ".." would be nothing to openat2.
  if (!repository::is_table_path(path)) return walk_to_directory(root, path);
  open_how how{};
  how.flags = static_cast<std::uint64_t>(kFlags);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  const long fd = ::syscall(SYS_openat2, root, std::string(path).c_str(), &how, sizeof how);
  if (fd >= 0) return base::UniqueFd(static_cast<int>(fd));
  // The kernel does not know it, a container's filter forbids it, it was disturbed by a rename, or
  // the path is at the limit of what one call takes.
  if (errno == ENOSYS || errno == EPERM || errno == EAGAIN || errno == ENAMETOOLONG) {
    return walk_to_directory(root, path);
  }
  return {};
}

}  // namespace holdfast::files
