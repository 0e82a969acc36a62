#include "files/target_tree.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "files/open_beneath.h"

namespace holdfast::files {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;

constexpr std::string_view kTemporaryPrefix = ".holdfast-";
constexpr std::size_t kTemporaryDigits = 8;

// Which mount a directory belongs to: bind mounts have the same device.
struct Mount {
  std::uint64_t id = 0;  // 0: the kernel does not say
  dev_t device = 0;
  bool operator==(const Mount&) const = default;
};

Mount mount_of(int directory) {
  struct stat status {};
  if (::fstat(directory, &status) != 0) return {};
  Mount mount{.device = status.st_dev};
  struct statx more {};
  if (::statx(directory, "", AT_EMPTY_PATH, STATX_MNT_ID, &more) == 0 &&
      (more.stx_mask & STATX_MNT_ID) != 0) {
    mount.id = more.stx_mnt_id;
  }
  return mount;
}

}  // namespace

std::string name_of(std::string_view path) {
  return std::string(path.substr(path.rfind('/') + 1));  // npos + 1 is 0
}

bool is_temporary_name(std::string_view name) {
  return name.size() == kTemporaryPrefix.size() + kTemporaryDigits &&
         name.starts_with(kTemporaryPrefix) &&
         name.find_first_not_of("0123456789abcdef", kTemporaryPrefix.size()) ==
             std::string_view::npos;
}

bool make_accessible(int directory) {
  struct stat status {};
  if (::fstat(directory, &status) != 0 || (status.st_mode & 0700) == 0700) return false;
  const std::string itself = fmt::format("/proc/self/fd/{}", directory);
  return ::chmod(itself.c_str(), (status.st_mode & 07777) | 0700) == 0;
}

Directory DirectoryCursor::find(std::string_view directory) {
  if (last_ && last_path_ == directory) return last_;
  base::UniqueFd fd = open_directory_beneath(root_, directory);
  if (fd && mounts_ == Mounts::kStay && mount_of(fd.get()) != mount_of(root_)) {
    errno = EXDEV;
    return nullptr;
  }
  if (!fd) return nullptr;
  last_path_ = directory;
  last_ = std::make_shared<const base::UniqueFd>(std::move(fd));
  return last_;
}

void TargetTree::require_usable() const {
  struct stat status {};
  if (::lstat(to_.c_str(), &status) != 0) {
    if (errno == ENOENT) return;
    throw base::system_error(errno, fmt::format("cannot look at {}", to_.native()));
  }
  if (::stat(to_.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    throw Error(ErrorKind::kRefused, fmt::format("{} is no directory", to_.native()),
                "Name a directory that is empty or not there yet.");
  }
  if (delta_) return;
  std::error_code error;
  for (fs::directory_iterator at(to_, error), end; !error && at != end; at.increment(error)) {
    if (at->path().filename() == "lost+found" && !at->is_symlink() && at->is_directory()) continue;
    throw Error(ErrorKind::kRefused, fmt::format("{} is not empty", to_.native()),
                "Restore to an empty directory, or with --delta over what is there.");
  }
  if (error) {
    throw base::system_error(error.value(), fmt::format("cannot list {}", to_.native()));
  }
}

void TargetTree::make(mode_t mode) {
  fs::path parent = to_.has_filename() ? to_.parent_path() : to_.parent_path().parent_path();
  std::error_code error;
  fs::create_directories(parent, error);
  if (error) {
    throw base::system_error(error.value(), fmt::format("cannot create {}", parent.native()));
  }
  made_ = ::mkdir(to_.c_str(), mode) == 0;
  if (!made_ && errno != EEXIST) {
    throw base::system_error(errno, fmt::format("cannot create {}", to_.native()));
  }
  root_ = base::open_file(to_, O_RDONLY | O_DIRECTORY);
}

Directory TargetTree::parent_of(DirectoryCursor& cursor, std::string_view path) const {
  Directory directory = cursor.find(directory_of(path));
  if (!directory) fail(errno, "reach the directory of", path);
  return directory;
}

std::string TargetTree::temporary_name() const {
  std::array<std::uint8_t, kTemporaryDigits / 2> bytes;
  random_.fill(bytes);
  return std::string(kTemporaryPrefix) + base::to_hex(bytes);
}

void TargetTree::put_in_place(const Directory& directory, const std::string& temporary,
                              std::string_view path, bool is_directory) {
  const std::string name = name_of(path);
  const int at = directory->get();
  if (::renameat(at, temporary.c_str(), at, name.c_str()) == 0) return;
  if (errno != (is_directory ? ENOTDIR : EISDIR)) fail(errno, "create", path);
  exchange(directory, temporary, path);
}

// At no moment nothing has the name, where the file system can do that.
void TargetTree::exchange(const Directory& directory, const std::string& temporary,
                          std::string_view path) {
  const std::string name = name_of(path);
  const int at = directory->get();
  std::string aside = temporary;
  if (::renameat2(at, temporary.c_str(), at, name.c_str(), RENAME_EXCHANGE) != 0) {
    if (errno != EINVAL && errno != ENOSYS) fail(errno, "replace", path);
    aside = temporary_name();
    if (::renameat(at, name.c_str(), at, aside.c_str()) != 0 ||
        ::renameat(at, temporary.c_str(), at, name.c_str()) != 0) {
      fail(errno, "replace", path);
    }
  }
  struct stat status {};
  if (::fstatat(at, aside.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    fail(errno, "replace", path);
  }
  std::string now(path.substr(0, path.size() - name.size()));
  now += aside;
  set_aside_.lock()->push_back({std::string(path), std::move(now), S_ISDIR(status.st_mode)});
}

std::vector<TargetTree::SetAside> TargetTree::set_aside() { return *set_aside_.lock(); }

void TargetTree::fail(int error, std::string_view verb, std::string_view path) const {
  throw base::system_error(error, fmt::format("cannot {} {}", verb, shown_(path)));
}

NewEntry::NewEntry(TargetTree& tree, Directory directory, const repository::FileEntry& entry)
    : tree_(tree),
      directory_(std::move(directory)),
      entry_(entry),
      name_(tree.delta() ? tree.temporary_name() : name_of(entry.path)) {}

NewEntry::NewEntry(NewEntry&& other) noexcept
    : tree_(other.tree_),
      directory_(other.directory_),
      entry_(other.entry_),
      name_(other.name_),
      there_(std::exchange(other.there_, false)) {}

NewEntry::~NewEntry() {
  if (!there_) return;
  const bool is_directory = entry_.type == repository::FileType::kDirectory;
  ::unlinkat(directory_->get(), name_.c_str(), is_directory ? AT_REMOVEDIR : 0);
}

void NewEntry::put_in_place() {
  if (tree_.delta()) {
    tree_.put_in_place(directory_, name_, entry_.path,
                       entry_.type == repository::FileType::kDirectory);
  }
  there_ = false;
}

bool NewEntry::take_another_name() {
  if (!tree_.delta() || errno != EEXIST) tree_.fail(errno, "create", entry_.path);
  name_ = tree_.temporary_name();
  return true;
}

void FileSystems::add(int directory, dev_t device) {
  if (directories_.contains(device)) return;
  base::UniqueFd fd(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw base::system_error(errno, "cannot open a directory that is restored to");
  directories_.emplace(device, std::move(fd));
}

void FileSystems::write_out() const {
  for (const auto& [device, directory] : directories_) {
    if (::syncfs(directory.get()) != 0) {
      throw base::system_error(errno, "cannot write out what was restored");
    }
  }
}

}  // namespace holdfast::files
