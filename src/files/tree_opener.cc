#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "files/open_beneath.h"
#include "files/tree.h"

namespace holdfast::files {
namespace {

std::string_view directory_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

base::Error not_opened(int error_number, std::string_view path) {
  if (error_number != ENOENT) {
    return base::system_error(error_number, fmt::format("cannot open {}", path));
  }
  base::Error error(base::ErrorKind::kNotFound, fmt::format("there is no {}", path));
  error.set_errno(error_number);
  return error;
}

}  // namespace

TreeOpener::TreeOpener(const std::filesystem::path& root)
    : root_path_(root), root_(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
  if (!root_) throw not_opened(errno, root.native());
}

TreeOpener::~TreeOpener() = default;

std::string_view TreeOpener::name_of(std::string_view path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

int TreeOpener::parent_or_errno(std::string_view path) {
  const std::string_view directory = directory_of(path);
  if (directory.empty()) return root_.get();
  if (!directory_ || directory_path_ != directory) {
    directory_ = open_directory_beneath(root_.get(), directory);
    directory_path_ = directory;
  }
  return directory_.get();
}

int TreeOpener::parent(std::string_view path) {
  const int directory = parent_or_errno(path);
  if (directory < 0) throw not_opened(errno, (root_path_ / directory_of(path)).native());
  return directory;
}

int TreeOpener::open(std::string_view path, int flags) {
  const int directory = parent_or_errno(path);
  if (directory < 0) return -1;
  const std::string name(name_of(path));
  if (name == "..") {
    errno = EXDEV;
    return -1;
  }
  return ::openat(directory, name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW);
}

}  // namespace holdfast::files
