#include "postgres/clear_target.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using repository::FileEntry;
using repository::FileType;

struct stat status_of(const fs::path& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    throw base::system_error(errno, fmt::format("cannot read {}", path.string()));
  }
  return status;
}

// Removes a file or link; one that is gone already is fine.
void remove_file(const fs::path& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    throw base::system_error(errno, fmt::format("cannot remove {}", path.string()));
  }
}

// The names in a directory, which its owner may not have been able to list or change.
std::vector<std::string> names_in(const fs::path& directory, const struct stat& status) {
  if ((status.st_mode & S_IRWXU) != S_IRWXU &&
      ::chmod(directory.c_str(), (status.st_mode & 07777) | S_IRWXU) != 0) {
    throw base::system_error(errno, fmt::format("cannot open {}", directory.string()));
  }
  std::vector<std::string> names;
  std::error_code problem;
  for (fs::directory_iterator at(directory, problem), end; !problem && at != end;
       at.increment(problem)) {
    names.push_back(at->path().filename());
  }
  if (problem) {
    throw base::system_error(problem.value(), fmt::format("cannot list {}", directory.string()));
  }
  return names;
}

class Clearing {
 public:
  Clearing(const RestorePlaces& places, const std::vector<FileEntry>& files,
           const std::vector<FileEntry>& directories)
      : places_(places) {
    wanted_.reserve(files.size() + directories.size());
    for (const FileEntry& entry : files) wanted_.emplace(entry.path, entry.type);
    for (const FileEntry& entry : directories) wanted_.emplace(entry.path, entry.type);
  }

  std::vector<std::string> run() {
    clear("", places_.data_directory);
    for (const auto& [link, location] : places_.tablespaces) clear_tablespace(link, location);
    return std::move(notes_);
  }

 private:
  // `path`: in the backup, "" for the data directory itself.
  void clear(const std::string& path, const fs::path& directory) {
    struct stat status {};
    if (::stat(directory.c_str(), &status) != 0) return;  // it is yet to be made
    for (const std::string& name : names_in(directory, status)) {
      if (path.empty() && name == UnfinishedMark::kName) continue;
      settle(path.empty() ? name : path + "/" + name, directory / name, status.st_dev);
    }
  }

  void clear_tablespace(const std::string& link, const fs::path& location) {
    struct stat status {};
    if (::stat(location.c_str(), &status) != 0) return;
    for (const std::string& name : names_in(location, status)) {
      const std::string path = link + "/" + name;
      if (wanted_.contains(path)) settle(path, location / name, status.st_dev);
    }
  }

  // One thing that is there: stays, is cleared within, or goes.
  void settle(const std::string& path, const fs::path& there, dev_t device) {
    const struct stat status = status_of(there);
    const auto wanted = wanted_.find(path);
    if (wanted == wanted_.end()) {
      remove(there, status, device);
      return;
    }
    switch (wanted->second) {
      case FileType::kFile:
        // One with another name would be changed under that one too.
        if (!S_ISREG(status.st_mode) || status.st_nlink > 1) remove(there, status, device);
        break;
      case FileType::kDirectory:
        if (S_ISDIR(status.st_mode)) {
          clear(path, there);
        } else {
          remove(there, status, device);
        }
        break;
      case FileType::kSymlink:
        if (!leads_to_its_place(path, there, status)) remove(there, status, device);
        break;
      case FileType::kFifo:  // no cluster has one
        remove(there, status, device);
        break;
    }
  }

  bool leads_to_its_place(const std::string& path, const fs::path& there,
                          const struct stat& status) const {
    std::error_code problem;
    return S_ISLNK(status.st_mode) && fs::equivalent(there, places_.tablespaces.at(path), problem);
  }

  // True if it is gone. `device`: of the directory that it stands in.
  bool remove(const fs::path& there, const struct stat& status, dev_t device) {
    if (!S_ISDIR(status.st_mode)) {
      if (S_ISLNK(status.st_mode)) note_link(there);
      remove_file(there);
      return true;
    }
    if (there.filename() == "lost+found") return false;
    if (status.st_dev != device) {
      notes_.push_back(
          fmt::format("{} is a disk of its own: it was left as it is", there.string()));
      return false;
    }
    bool is_empty = true;
    for (const std::string& name : names_in(there, status)) {
      is_empty = remove(there / name, status_of(there / name), status.st_dev) && is_empty;
    }
    if (is_empty && ::rmdir(there.c_str()) != 0) {
      throw base::system_error(errno, fmt::format("cannot remove {}", there.string()));
    }
    return is_empty;
  }

  void note_link(const fs::path& link) {
    std::error_code problem;
    const fs::path target = fs::read_symlink(link, problem);
    if (!fs::is_directory(link, problem)) return;
    notes_.push_back(fmt::format("{} was a link to {}, which was left as it is", link.string(),
                                 target.string()));
  }

  const RestorePlaces& places_;
  std::unordered_map<std::string_view, FileType> wanted_;
  std::vector<std::string> notes_;
};

}  // namespace

void make_unstartable(const RestorePlaces& places) {
  const fs::path global = places.data_directory / "global";
  struct stat status {};
  if (::lstat(global.c_str(), &status) != 0) {
    if (errno == ENOENT) return;
    throw base::system_error(errno, fmt::format("cannot read {}", global.string()));
  }
  if (S_ISDIR(status.st_mode)) {
    remove_file(global / "pg_control");
    base::fsync_directory(global);
  } else {
    remove_file(global);
    base::fsync_directory(places.data_directory);
  }
}

std::vector<std::string> clear_away(const RestorePlaces& places,
                                    const std::vector<FileEntry>& files,
                                    const std::vector<FileEntry>& directories) {
  return Clearing(places, files, directories).run();
}

}  // namespace holdfast::postgres
