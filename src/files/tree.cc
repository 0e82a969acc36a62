#include "files/tree.h"

#include <dirent.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <map>
#include <system_error>

#include "base/error.h"
#include "files/kernel_file_systems.h"

namespace holdfast::files {
namespace {

using repository::FileEntry;
using repository::FileType;

constexpr std::size_t kNoEntry = SIZE_MAX;
constexpr std::string_view kTooLong = "its path is longer than 4096 bytes";
constexpr std::string_view kReplaced = "it was replaced while it was looked at";

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using OpenDirectory = std::unique_ptr<DIR, CloseDirectory>;

std::string words_of(int error_number) {
  if (error_number == ENOENT) return "vanished";
  if (error_number == ENOTDIR || error_number == ELOOP) return std::string(kReplaced);
  return std::generic_category().message(error_number);
}

// What stands in a directory and waits for its turn.
struct Found {
  FileEntry entry;
  dev_t device = 0;
  bool has_more_names = false;
  bool is_to_be_entered = false;
  std::size_t position = kNoEntry;  // in the tree, once it stands there
};

// A directory is two steps: itself by its name, and what stands in it by the name with a '/'. In
// the order of those, entries come out in the order of a file table, as names hold no '/'.
struct Step {
  std::string_view name;
  std::size_t found;
  bool enters = false;

  bool operator<(const Step& other) const {
    const std::size_t common = std::min(name.size(), other.name.size());
    const int order = std::memcmp(name.data(), other.name.data(), common);
    return order != 0 ? order < 0 : byte_after(common) < other.byte_after(common);
  }

 private:
  int byte_after(std::size_t common) const {
    if (name.size() > common) return static_cast<unsigned char>(name[common]);
    return enters ? '/' : -1;
  }
};

// A directory on the way from the root to where the walk is.
struct Folder {
  std::size_t position = kNoEntry;  // of its own entry
  dev_t device = 0;
  std::vector<Found> found;
  std::vector<Step> steps;
  std::size_t next = 0;
};

// Takes the descriptor; none, and errno, where it fails.
OpenDirectory open_to_list(int fd) {
  if (fd < 0) return nullptr;
  OpenDirectory directory(::fdopendir(fd));
  if (!directory) {
    const int error_number = errno;
    ::close(fd);
    errno = error_number;
  }
  return directory;
}

class Walk {
 public:
  Walk(const std::filesystem::path& root, const Selection& selection, std::stop_token stop)
      : selection_(selection),
        takes_everything_(selection.takes_everything()),
        stop_(std::move(stop)),
        opener_(root) {}

  Tree run(OpenDirectory root);

 private:
  void list(Folder& folder, DIR* directory, std::string_view path);
  void consider(Folder& folder, int directory, const dirent& name);
  bool look_at(int directory, const char* name, struct stat& status);
  void add(Folder& folder, int directory, const char* name, const struct stat& status,
           bool on_the_way);
  void emit(const Folder& folder, Found& found);
  void enter(std::size_t position, dev_t device, dev_t device_above);
  void drop_ways_to_nothing();
  void expect_not_stopped() const {
    if (!stop_.stop_requested()) return;
    throw base::Error(base::ErrorKind::kInterrupted, "listing files was stopped");
  }

  const Selection& selection_;
  const bool takes_everything_;
  const std::stop_token stop_;
  TreeOpener opener_;  // so that there is no limit to the depth but that of paths
  EntryMaker maker_;
  Tree tree_;
  std::vector<std::size_t> parents_;  // of each entry
  std::vector<Folder> way_;
  std::map<std::pair<dev_t, ino_t>, std::size_t> first_names_;  // of files with several
  std::string path_;  // of what is looked at; kept for its memory
};

Tree Walk::run(OpenDirectory root) {
  struct stat status {};
  if (::fstat(::dirfd(root.get()), &status) != 0) throw base::system_error(errno, "cannot look");
  tree_.root = maker_.make({}, status);
  tree_.root.on_the_way = !selection_.takes({}, true);
  way_.push_back({.position = kNoEntry, .device = status.st_dev, .found = {}, .steps = {}});
  list(way_.back(), root.get(), {});
  root.reset();
  while (!way_.empty()) {
    Folder& folder = way_.back();
    if (folder.next == folder.steps.size()) {
      way_.pop_back();
      continue;
    }
    const Step& step = folder.steps[folder.next++];
    Found& found = folder.found[step.found];
    if (step.enters) {
      enter(found.position, found.device, folder.device);
    } else {
      emit(folder, found);
    }
  }
  drop_ways_to_nothing();
  const auto by_path = [](const Problem& a, const Problem& b) { return a.path < b.path; };
  std::sort(tree_.unreadable.begin(), tree_.unreadable.end(), by_path);
  std::sort(tree_.left_out.begin(), tree_.left_out.end(), by_path);
  return std::move(tree_);
}

void Walk::list(Folder& folder, DIR* directory, std::string_view path) {
  path_ = path;
  if (!path_.empty()) path_ += '/';
  const std::size_t prefix = path_.size();
  while (true) {
    expect_not_stopped();
    errno = 0;
    const dirent* name = ::readdir(directory);
    if (name == nullptr) break;
    const std::string_view text(name->d_name);
    if (text == "." || text == "..") continue;
    path_.resize(prefix);
    path_ += text;
    consider(folder, ::dirfd(directory), *name);
  }
  if (errno != 0) tree_.unreadable.push_back({std::string(path), words_of(errno)});
  folder.steps.reserve(folder.found.size());
  for (std::size_t i = 0; i < folder.found.size(); ++i) {
    const std::string_view name = std::string_view(folder.found[i].entry.path).substr(prefix);
    folder.steps.push_back({.name = name, .found = i});
    if (folder.found[i].is_to_be_entered) {
      folder.steps.push_back({.name = name, .found = i, .enters = true});
    }
  }
  std::sort(folder.steps.begin(), folder.steps.end());
}

// Most file systems tell what a name stands for, so that what nobody asked for is not looked at.
void Walk::consider(Folder& folder, int directory, const dirent& name) {
  struct stat status {};
  bool looked_at = false;
  bool is_directory = name.d_type == DT_DIR;
  if (name.d_type == DT_UNKNOWN) {
    if (!look_at(directory, name.d_name, status)) return;
    looked_at = true;
    is_directory = S_ISDIR(status.st_mode);
  }
  const bool taken = takes_everything_ || selection_.takes(path_, is_directory);
  if (!taken && !(is_directory && selection_.may_take_below(path_))) return;
  if (!repository::is_table_path(path_)) {
    tree_.unreadable.push_back({path_, std::string(kTooLong)});
    return;
  }
  if (!looked_at && !look_at(directory, name.d_name, status)) return;
  if (S_ISDIR(status.st_mode) != is_directory) {
    tree_.unreadable.push_back({path_, std::string(kReplaced)});
    return;
  }
  add(folder, directory, name.d_name, status, !taken);
}

bool Walk::look_at(int directory, const char* name, struct stat& status) {
  if (::fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) == 0) return true;
  tree_.unreadable.push_back({path_, words_of(errno)});
  return false;
}

void Walk::add(Folder& folder, int directory, const char* name, const struct stat& status,
               bool on_the_way) {
  if (S_ISSOCK(status.st_mode) || S_ISBLK(status.st_mode) || S_ISCHR(status.st_mode)) {
    tree_.left_out.push_back({path_, S_ISSOCK(status.st_mode) ? "a socket" : "a device"});
    return;
  }
  std::string target;
  if (S_ISLNK(status.st_mode)) {
    std::array<char, PATH_MAX> buffer;  // no system call makes a longer one
    const ssize_t length = ::readlinkat(directory, name, buffer.data(), buffer.size());
    if (length < 0) {
      tree_.unreadable.push_back({path_, words_of(errno)});
      return;
    }
    target.assign(buffer.data(), static_cast<std::size_t>(length));
  }
  Found& found = folder.found.emplace_back();
  found.entry = maker_.make(path_, status);
  found.entry.link_target = std::move(target);
  found.entry.on_the_way = on_the_way;
  found.device = status.st_dev;
  found.has_more_names = S_ISREG(status.st_mode) && status.st_nlink > 1;
  found.is_to_be_entered = S_ISDIR(status.st_mode);
}

void Walk::emit(const Folder& folder, Found& found) {
  found.position = tree_.entries.size();
  if (found.has_more_names) {
    const auto [first, is_first] =
        first_names_.try_emplace({found.device, found.entry.sighting->inode}, found.position);
    if (!is_first) found.entry.hard_link = tree_.entries[first->second].path;
  }
  tree_.entries.push_back(std::move(found.entry));
  parents_.push_back(folder.position);
}

void Walk::enter(std::size_t position, dev_t device, dev_t device_above) {
  const std::string path = tree_.entries[position].path;
  const OpenDirectory directory = open_to_list(opener_.open(path, O_RDONLY | O_DIRECTORY));
  if (!directory) {
    tree_.unreadable.push_back({path, words_of(errno)});
    return;
  }
  if (device != device_above) {
    const std::string_view kernel_name = kernel_file_system(::dirfd(directory.get()));
    if (!kernel_name.empty()) {
      tree_.left_out.push_back(
          {path, fmt::format("what the kernel shows there ({})", kernel_name)});
      return;
    }
  }
  way_.push_back({.position = position, .device = device, .found = {}, .steps = {}});
  list(way_.back(), directory.get(), path);
}

// Entries stand behind the directory that they are in, so one pass from the end tells which
// directories lead to what was asked for.
void Walk::drop_ways_to_nothing() {
  std::vector<bool> leads_on(tree_.entries.size());
  for (std::size_t i = tree_.entries.size(); i-- > 0;) {
    if (tree_.entries[i].on_the_way && !leads_on[i]) continue;
    leads_on[i] = true;
    if (parents_[i] != kNoEntry) leads_on[parents_[i]] = true;
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < leads_on.size(); ++i) {
    if (!leads_on[i]) continue;
    if (kept != i) tree_.entries[kept] = std::move(tree_.entries[i]);
    ++kept;
  }
  tree_.entries.resize(kept);
}

}  // namespace

Tree list_tree(const std::filesystem::path& root, const Selection& selection,
               std::stop_token stop) {
  OpenDirectory directory = open_to_list(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) {
    if (errno == ENOENT || errno == ENOTDIR) {
      throw base::Error(base::ErrorKind::kNotFound,
                        fmt::format("there is no directory {}", root.native()));
    }
    throw base::system_error(errno, fmt::format("cannot list {}", root.native()));
  }
  return Walk(root, selection, std::move(stop)).run(std::move(directory));
}

std::vector<std::string> patterns_without_effect(const std::vector<std::string>& include,
                                                 const Tree& tree) {
  std::vector<std::string> idle;
  for (const std::string& pattern : include) {
    if (pattern.empty() || pattern.front() == '!' || pattern.front() == '#') continue;
    const Selection alone({pattern}, {});
    const bool has_effect =
        std::any_of(tree.entries.begin(), tree.entries.end(), [&](const auto& entry) {
          return alone.takes(entry.path, entry.type == repository::FileType::kDirectory);
        });
    if (!has_effect) idle.push_back(pattern);
  }
  return idle;
}

}  // namespace holdfast::files
