#include "storage/directory_tree.h"

#include <dirent.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <vector>

namespace holdfast::storage {
namespace fs = std::filesystem;
namespace {

constexpr mode_t kDirectoryMode = 0750;

std::string user_name(uid_t uid) {
  std::array<char, 4096> buffer;
  passwd entry;
  passwd* found = nullptr;
  if (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
    return entry.pw_name;
  }
  return fmt::format("user {}", uid);
}

std::string group_name(gid_t gid) {
  std::array<char, 4096> buffer;
  group entry;
  group* found = nullptr;
  if (getgrgid_r(gid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
    return entry.gr_name;
  }
  return fmt::format("{}", gid);
}

// Speaks of the nearest directory (or file) on the way that we may look at.
std::string rights_hint(fs::path path) {
  struct stat status;
  while (::stat(path.c_str(), &status) != 0) {
    if (!path.has_relative_path()) return {};
    path = path.parent_path();
  }
  return fmt::format("{} belongs to {}:{} (mode {:04o}), and holdfast runs as {}", path.string(),
                     user_name(status.st_uid), group_name(status.st_gid), status.st_mode & 07777u,
                     user_name(geteuid()));
}

struct CloseDirectory {
  void operator()(DIR* stream) const { closedir(stream); }
};

struct Entry {
  std::string name;
  bool is_directory = false;
  struct stat status;  // of files
};

// Files and directories alone: no link, no socket. Nullopt for what vanished or is of no interest.
std::optional<Entry> look_at(int directory, const dirent& entry, const fs::path& path) {
  Entry result{.name = entry.d_name, .is_directory = entry.d_type == DT_DIR, .status = {}};
  if (result.is_directory) return result;
  if (entry.d_type != DT_REG && entry.d_type != DT_UNKNOWN) return std::nullopt;
  if (fstatat(directory, entry.d_name, &result.status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return std::nullopt;
    throw path_error(errno, "look at", path / entry.d_name);
  }
  result.is_directory = S_ISDIR(result.status.st_mode);
  if (!result.is_directory && !S_ISREG(result.status.st_mode)) return std::nullopt;
  return result;
}

// In the order in which the full names of the objects sort: a directory counts as "name/".
bool sorts_before(const Entry& a, const Entry& b) {
  const std::size_t common = std::min(a.name.size(), b.name.size());
  const int order = a.name.compare(0, common, b.name, 0, common);
  if (order != 0) return order < 0;
  const auto next = [common](const Entry& entry) {
    if (common < entry.name.size()) return static_cast<int>(entry.name[common]);
    return entry.is_directory ? static_cast<int>('/') : 0;
  };
  return next(a) < next(b);
}

// What in the directory can be an object or hold some.
std::vector<Entry> entries_of(int directory, const std::string& prefix, const fs::path& path) {
  const int own = fcntl(directory, F_DUPFD_CLOEXEC, 0);
  const std::unique_ptr<DIR, CloseDirectory> stream(own < 0 ? nullptr : fdopendir(own));
  if (!stream) throw path_error(errno, "list", path);
  std::vector<Entry> entries;
  for (;;) {
    errno = 0;
    const dirent* const entry = readdir(stream.get());
    if (entry == nullptr) break;
    if (!is_valid_name(prefix + entry->d_name)) continue;
    if (auto found = look_at(directory, *entry, path)) entries.push_back(std::move(*found));
  }
  if (errno != 0) throw path_error(errno, "list", path);
  return entries;
}

// Whether an object stands in the directory. Then whoever put the first one there has made the
// directories above durable, all the way, before it got its name: see DirectoryTree::make().
bool holds_objects(const base::UniqueFd& directory) {
  const int own = openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, CloseDirectory> stream(own < 0 ? nullptr : fdopendir(own));
  if (!stream) return false;
  while (const dirent* const entry = readdir(stream.get())) {
    if (!is_valid_name(entry->d_name)) continue;
    const auto found = look_at(directory.get(), *entry, entry->d_name);
    if (found && !found->is_directory) return true;
  }
  return false;
}

}  // namespace

base::Error path_error(int errno_value, std::string_view doing, const fs::path& path) {
  base::Error error =
      base::system_error(errno_value, fmt::format("cannot {} {}", doing, path.string()));
  if (errno_value == EACCES || errno_value == EPERM) error.set_hint(rights_hint(path));
  return error;
}

base::Error link_error(const fs::path& path) {
  return {base::ErrorKind::kFailed,
          fmt::format("{} is a symbolic link, which is not followed", path.string()),
          "Put the whole repository where the link points, or mount that place here"};
}

void sync_directory(const base::UniqueFd& directory, const fs::path& path) {
  // EINVAL: this file system keeps its directories in another way (see base::fsync_directory()).
  if (fsync(directory.get()) != 0 && errno != EINVAL) throw path_error(errno, "make durable", path);
}

ObjectInfo object_info(std::string name, const struct stat& status) {
  const auto since_epoch = std::chrono::seconds(status.st_mtim.tv_sec) +
                           std::chrono::nanoseconds(status.st_mtim.tv_nsec);
  return {.name = std::move(name),
          .size_bytes = static_cast<std::uint64_t>(status.st_size),
          .modified = base::Time(std::chrono::floor<base::Duration>(since_epoch))};
}

DirectoryTree::DirectoryTree(fs::path root) : root_(std::move(root)) {
  fd_ = base::UniqueFd(::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd_) {
    base::Error error = path_error(errno, "open the directory", root_);
    if (error.system_errno() == ENOENT) error.set_hint("Is the disk mounted, and the path right?");
    throw error;
  }
  if (fstat(fd_.get(), &root_stat_) != 0) throw path_error(errno, "look at", root_);
}

std::optional<base::UniqueFd> DirectoryTree::open_directory(int parent, const std::string& name,
                                                            int flags, const fs::path& path) const {
  const int fd = openat(parent, name.c_str(), flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd >= 0) return base::UniqueFd(fd);
  const int error = errno;
  if (error == ENOENT) return std::nullopt;
  if (error == ENOTDIR || error == ELOOP) {
    struct stat status;
    if (fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISLNK(status.st_mode)) {
      throw link_error(path);
    }
    return std::nullopt;
  }
  throw path_error(error, "open the directory", path);
}

bool DirectoryTree::make_directory(int parent, const std::string& name,
                                   const fs::path& path) const {
  if (mkdirat(parent, name.c_str(), kDirectoryMode) != 0) {
    if (errno == EEXIST) return false;
    throw path_error(errno, "make the directory", path);
  }
  const auto made = open_directory(parent, name, O_RDONLY, path);
  if (made) set_rights(made->get(), kDirectoryMode, path);
  return true;
}

void DirectoryTree::set_rights(int fd, mode_t mode, const fs::path& path) const {
  // A file system that has no owners, or maps root to nobody, refuses: then its own rule holds.
  if (geteuid() == 0 && fchown(fd, root_stat_.st_uid, root_stat_.st_gid) != 0 && errno != EPERM &&
      errno != EINVAL && errno != EOPNOTSUPP) {
    throw path_error(errno, "set the owner of", path);
  }
  struct stat status;
  if (fstat(fd, &status) != 0) throw path_error(errno, "look at", path);
  // What the umask took is given back; a group that directories inherit is kept.
  const mode_t wanted = mode | (S_ISDIR(status.st_mode) ? status.st_mode & S_ISGID : 0);
  if ((status.st_mode & 07777) != wanted && fchmod(fd, wanted) != 0 && errno != EPERM &&
      errno != EOPNOTSUPP) {
    throw path_error(errno, "set the mode of", path);
  }
}

base::UniqueFd DirectoryTree::open_root(int flags) const {
  auto root = open_directory(fd_.get(), ".", flags, root_);
  if (!root) throw path_error(ENOENT, "open the directory", root_);
  return std::move(*root);
}

std::optional<Place> DirectoryTree::find(std::string_view name, int flags) const {
  std::optional<base::UniqueFd> directory = open_root(flags);
  std::size_t begin = 0;
  for (std::size_t slash; (slash = name.find('/', begin)) != name.npos; begin = slash + 1) {
    const std::string part(name.substr(begin, slash - begin));
    directory = open_directory(directory->get(), part, flags, path_of(name.substr(0, slash)));
    if (!directory) return std::nullopt;
  }
  return Place{std::move(*directory), std::string(name.substr(begin))};
}

Place DirectoryTree::make(std::string_view name) {
  struct Step {
    base::UniqueFd parent;
    std::string_view name;  // of the directory, from the root on
  };
  std::vector<Step> unsure;
  std::optional<base::UniqueFd> directory = open_root(O_RDONLY);
  std::size_t begin = 0;
  for (std::size_t slash; (slash = name.find('/', begin)) != name.npos; begin = slash + 1) {
    const std::string_view so_far = name.substr(0, slash);
    const std::string part(name.substr(begin, slash - begin));
    const fs::path path = path_of(so_far);
    auto next = open_directory(directory->get(), part, O_RDONLY, path);
    const bool made = !next && make_directory(directory->get(), part, path);
    if (!next) next = open_directory(directory->get(), part, O_RDONLY, path);
    if (!next) throw path_error(ENOTDIR, "make the directory", path);
    if (made || !durable_.lock()->contains(so_far))
      unsure.push_back({std::move(*directory), so_far});
    directory = std::move(next);
  }
  if (!unsure.empty() && !holds_objects(*directory)) {
    for (const Step& step : unsure) sync_directory(step.parent, path_of(step.name).parent_path());
  }
  for (const Step& step : unsure) durable_.lock()->emplace(step.name);
  return Place{std::move(*directory), std::string(name.substr(begin))};
}

void DirectoryTree::list(std::string_view prefix,
                         const std::function<void(const ObjectInfo&)>& each) const {
  const std::string below = std::string(prefix) + ".";
  if (const auto place = find(below, O_RDONLY)) {
    list_in(place->directory, std::string(prefix), each);
  }
}

void DirectoryTree::list_in(const base::UniqueFd& directory, const std::string& prefix,
                            const std::function<void(const ObjectInfo&)>& each) const {
  std::vector<Entry> entries = entries_of(directory.get(), prefix, path_of(prefix));
  std::sort(entries.begin(), entries.end(), sorts_before);
  for (Entry& entry : entries) {
    std::string name = prefix + entry.name;
    if (!entry.is_directory) {
      each(object_info(std::move(name), entry.status));
    } else if (const auto next =
                   open_directory(directory.get(), entry.name, O_RDONLY, path_of(name))) {
      list_in(*next, name + "/", each);
    }
  }
}

}  // namespace holdfast::storage
