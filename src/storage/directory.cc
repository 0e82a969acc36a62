#include "storage/directory.h"

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "storage/directory_tree.h"
#include "storage/new_file.h"
#include "storage/open_files.h"

namespace holdfast::storage {
namespace fs = std::filesystem;
namespace {

class DirectoryStorage final : public Storage {
 public:
  DirectoryStorage(const fs::path& root, const DirectoryOptions& options)
      : tree_(root), options_(options) {
    remove_stale_files(tree_);
  }

  PutResult put(std::string_view name, base::ByteView content, Use /*use*/) override {
    check_name(name);
    const Place place = tree_.make(name);
    const fs::path path = tree_.path_of(name);
    // Only saves the work where the name is taken: publish() decides.
    if (sync_existing(place, path)) return PutResult::kExists;
    NewFile file(tree_, options_, path);
    file.write(content);
    if (file.publish(place)) return PutResult::kCreated;
    sync_existing(place, path);
    return PutResult::kExists;
  }

  std::optional<base::Bytes> get(std::string_view name, std::uint64_t max_size_bytes) override {
    check_name(name);
    const auto place = tree_.find(name, O_PATH);
    if (!place) return std::nullopt;
    const fs::path path = tree_.path_of(name);
    const auto file = open_object(*place, path);
    if (!file) return std::nullopt;
    const struct stat status = status_of(*file, path);
    const auto size_bytes = static_cast<std::uint64_t>(status.st_size);
    if (size_bytes > max_size_bytes) {
      throw base::Error(base::ErrorKind::kDamaged,
                        fmt::format("{} has {} bytes, where at most {} can be right", path.string(),
                                    size_bytes, max_size_bytes));
    }
    base::Bytes content(static_cast<std::size_t>(size_bytes));
    content.resize(base::read_at(file->get(), 0, content, path));
    return content;
  }

  std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                  base::MutableByteView buffer) override {
    check_name(name);
    const fs::path path = tree_.path_of(name);
    const OpenFiles::File file = open_for_reading(name, path);
    if (!file) return std::nullopt;
    // No file is that long, and the system would not take the number.
    if (offset > std::numeric_limits<off_t>::max() - buffer.size()) return 0;
    return base::read_at(file->get(), offset, buffer, path);
  }

  std::optional<ObjectInfo> stat(std::string_view name) override {
    check_name(name);
    const auto place = tree_.find(name, O_PATH);
    if (!place) return std::nullopt;
    struct stat status;
    if (fstatat(place->directory.get(), place->file.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return std::nullopt;
      throw path_error(errno, "look at", tree_.path_of(name));
    }
    if (S_ISLNK(status.st_mode)) throw link_error(tree_.path_of(name));
    if (!S_ISREG(status.st_mode)) return std::nullopt;
    return object_info(std::string(name), status);
  }

  void list(std::string_view prefix, const std::function<void(const ObjectInfo&)>& each) override {
    check_prefix(prefix);
    tree_.list(prefix, each);
  }

  bool remove(std::string_view name) override {
    check_name(name);
    open_files_.forget(name);
    const auto place = tree_.find(name, O_RDONLY);
    if (!place) return false;
    const fs::path path = tree_.path_of(name);
    const bool removed = unlinkat(place->directory.get(), place->file.c_str(), 0) == 0;
    if (!removed && errno == EISDIR) return false;
    if (!removed && errno != ENOENT) throw path_error(errno, "remove", path);
    // Where it is gone already, whoever removed it may not have come as far as this.
    sync_directory(place->directory, path.parent_path());
    return removed;
  }

  std::string describe() const override { return tree_.root().string(); }

 private:
  static struct stat status_of(const base::UniqueFd& file, const fs::path& path) {
    struct stat status;
    if (fstat(file.get(), &status) != 0) throw path_error(errno, "look at", path);
    return status;
  }

  // Nullopt if no file stands there.
  static std::optional<base::UniqueFd> open_object(const Place& place, const fs::path& path) {
    base::UniqueFd file(openat(place.directory.get(), place.file.c_str(),
                               O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file) {
      if (errno == ENOENT) return std::nullopt;
      if (errno == ELOOP) throw link_error(path);
      throw path_error(errno, "open", path);
    }
    if (!S_ISREG(status_of(file, path).st_mode)) return std::nullopt;
    return file;
  }

  // Makes durable what another put() may have created without having come as far; false if there is
  // nothing.
  static bool sync_existing(const Place& place, const fs::path& path) {
    if (faccessat(place.directory.get(), place.file.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return false;
      throw path_error(errno, "look at", path);
    }
    const auto file = open_object(place, path);
    if (!file) {
      throw base::Error(base::ErrorKind::kFailed,
                        fmt::format("{} is no file, where an object should stand", path.string()));
    }
    base::fsync_file(file->get(), path);
    sync_directory(place.directory, path.parent_path());
    return true;
  }

  OpenFiles::File open_for_reading(std::string_view name, const fs::path& path) {
    if (auto held = open_files_.find(name)) {
      // Removed by another process, or replaced: what we hold is no object any more.
      if (status_of(*held, path).st_nlink > 0) return held;
      open_files_.forget(name);
    }
    const auto place = tree_.find(name, O_PATH);
    if (!place) return nullptr;
    auto file = open_object(*place, path);
    if (!file) return nullptr;
    auto opened = std::make_shared<const base::UniqueFd>(std::move(*file));
    open_files_.keep(name, opened);
    return opened;
  }

  DirectoryTree tree_;
  const DirectoryOptions options_;
  OpenFiles open_files_;
};

// Makes what is missing of the path, from the top, each durably.
void make_directories(const fs::path& path) {
  if (::access(path.c_str(), F_OK) == 0) return;
  const fs::path parent = path.parent_path();
  make_directories(parent);
  if (mkdir(path.c_str(), 0750) != 0 && errno != EEXIST) {
    throw path_error(errno, "make the directory", path);
  }
  base::fsync_directory(parent);
}

}  // namespace

std::unique_ptr<Storage> open_directory(const fs::path& root, DirectoryOptions options) {
  return std::make_unique<DirectoryStorage>(root, options);
}

std::unique_ptr<Storage> create_directory(const fs::path& root, DirectoryOptions options) {
  const fs::path absolute = fs::absolute(root);
  make_directories(absolute.has_filename() ? absolute : absolute.parent_path());  // "/a/b/"
  return open_directory(root, options);
}

SpaceInfo space_of(const fs::path& root) {
  struct statvfs status;
  if (statvfs(root.c_str(), &status) != 0)
    throw path_error(errno, "ask for the free space of", root);
  return {.free_bytes = static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize,
          .total_bytes = static_cast<std::uint64_t>(status.f_blocks) * status.f_frsize};
}

}  // namespace holdfast::storage
