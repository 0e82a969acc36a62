#include "postgres/cluster_files.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <memory>
#include <set>

#include "base/error.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using repository::FileType;

// Directories of which only the directory itself is wanted: their content is of this run of the
// server.
constexpr std::array<std::string_view, 7> kEmptied = {"pg_replslot", "pg_dynshmem",  "pg_notify",
                                                      "pg_serial",   "pg_snapshots", "pg_stat_tmp",
                                                      "pg_subtrans"};

// Top-level files that a backup must not hold; those marked * below are matched as a prefix.
constexpr std::array<std::string_view, 9> kLeftOut = {
    "postmaster.pid",       "postmaster.opts", "backup_label",
    "tablespace_map",       "backup_manifest", "postgresql.auto.conf.tmp",
    "current_logfiles.tmp", "recovery.signal", "standby.signal"};
constexpr std::string_view kRelationCache = "pg_internal.init";  // *: also in each database
constexpr std::string_view kTemporaryFiles = "pgsql_tmp";        // *

template <typename List>
bool contains(const List& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// Bare names, sorted; nullopt if the directory is gone.
std::optional<std::vector<std::string>> names_in(const fs::path& directory) {
  const std::unique_ptr<DIR, CloseDirectory> handle(::opendir(directory.c_str()));
  if (!handle) {
    if (errno == ENOENT) return std::nullopt;
    throw base::system_error(errno, fmt::format("cannot list {}", directory.string()));
  }
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(handle.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  if (errno != 0) {
    throw base::system_error(errno, fmt::format("cannot list {}", directory.string()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool all_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

base::Time modification_time(const struct stat& status) {
  return base::Time(std::chrono::seconds(status.st_mtim.tv_sec) +
                    std::chrono::microseconds(status.st_mtim.tv_nsec / 1000));
}

ClusterFile describe(std::string path, fs::path source, const struct stat& status, FileType type) {
  ClusterFile file;
  file.path = std::move(path);
  file.source = std::move(source);
  file.type = type;
  file.mode = status.st_mode & 07777;
  file.uid = status.st_uid;
  file.gid = status.st_gid;
  file.modified = modification_time(status);
  if (type == FileType::kFile) file.size_bytes = static_cast<std::uint64_t>(status.st_size);
  return file;
}

// Below base/DB, global and pg_tblspc/OID/PG_…/DB stand files made of pages.
bool holds_relations(std::string_view directory) {
  if (directory == "global") return true;
  const auto slashes = std::count(directory.begin(), directory.end(), '/');
  return (directory.starts_with("base/") && slashes == 1) ||
         (directory.starts_with("pg_tblspc/") && slashes == 3);
}

class Walk {
 public:
  explicit Walk(const ClusterInfo& cluster) : cluster_(cluster) {}

  ClusterListing run() {
    directory("", cluster_.data_directory);
    std::sort(listing_.files.begin(), listing_.files.end(),
              [](const ClusterFile& a, const ClusterFile& b) { return a.path < b.path; });
    return std::move(listing_);
  }

 private:
  // Everything below `source`, which stands at `path` ("" for the data directory itself).
  void directory(const std::string& path, const fs::path& source) {
    const std::optional<std::vector<std::string>> names = names_in(source);
    if (!names) return;
    const bool relations = holds_relations(path);
    std::set<std::string_view> unlogged;  // relfilenodes that have an init fork
    if (relations) unlogged = unlogged_relations(*names);
    for (const std::string& name : *names) {
      if (is_left_out(path, name)) continue;
      if (relations && is_volatile_relation(name, unlogged)) continue;
      entry(path.empty() ? name : path + "/" + name, source / name, relations);
    }
  }

  static std::set<std::string_view> unlogged_relations(const std::vector<std::string>& names) {
    std::set<std::string_view> found;
    for (const std::string& name : names) {
      const std::optional<RelationFile> relation = parse_relation_file(name);
      if (relation && relation->fork == "init") {
        found.insert(std::string_view(name).substr(0, name.find('_')));
      }
    }
    return found;
  }

  static bool is_left_out(const std::string& path, std::string_view name) {
    if (name.starts_with(kRelationCache) || name.starts_with(kTemporaryFiles)) return true;
    return path.empty() && contains(kLeftOut, name);
  }

  static bool is_volatile_relation(std::string_view name,
                                   const std::set<std::string_view>& unlogged) {
    if (is_temporary_relation(name)) return true;
    const std::optional<RelationFile> relation = parse_relation_file(name);
    if (!relation || relation->fork == "init") return false;
    return unlogged.contains(name.substr(0, name.find_first_of("_.")));
  }

  void entry(const std::string& path, const fs::path& source, bool relations) {
    struct stat status {};
    if (::lstat(source.c_str(), &status) != 0) {
      if (errno == ENOENT) return;
      throw base::system_error(errno, fmt::format("cannot read {}", source.string()));
    }
    if (S_ISLNK(status.st_mode)) {
      link(path, source, status);
    } else if (S_ISDIR(status.st_mode)) {
      subdirectory(path, source, status);
    } else if (S_ISREG(status.st_mode)) {
      file(path, source, status, relations);
    } else {
      listing_.notes.push_back(fmt::format("{} is neither a file nor a directory: left out", path));
    }
  }

  void subdirectory(const std::string& path, const fs::path& source, const struct stat& status) {
    listing_.files.push_back(describe(path, source, status, FileType::kDirectory));
    if (path == "pg_wal") {
      wal_directory(status);
    } else if (!contains(kEmptied, path)) {
      directory(path, source);
    }
  }

  // WAL comes from the archive; the server wants this directory to be there.
  void wal_directory(const struct stat& status) {
    listing_.files.push_back(describe("pg_wal/archive_status", {}, status, FileType::kDirectory));
  }

  void link(const std::string& path, const fs::path& source, const struct stat& status) {
    const bool tablespace = path.starts_with("pg_tblspc/");
    struct stat behind {};
    if (::stat(source.c_str(), &behind) != 0) {
      listing_.notes.push_back(fmt::format("{} is a link to nothing: left out", path));
      return;
    }
    if (tablespace) {
      ClusterFile file = describe(path, source, status, FileType::kSymlink);
      file.link_target = fs::read_symlink(source).string();
      // What the link names is restored with these rights.
      file.mode = behind.st_mode & 07777;
      file.uid = behind.st_uid;
      file.gid = behind.st_gid;
      listing_.files.push_back(std::move(file));
      directory(path, source);
    } else if (S_ISDIR(behind.st_mode)) {
      // pg_wal, or a log directory, on a disk of its own: a plain directory in the backup.
      subdirectory(path, source, behind);
    } else if (S_ISREG(behind.st_mode)) {
      file(path, source, behind, false);
    }
  }

  void file(const std::string& path, const fs::path& source, const struct stat& status,
            bool relations) {
    if (path == "global/pg_control") return;  // read last
    ClusterFile entry = describe(path, source, status, FileType::kFile);
    if (relations) {
      if (const auto relation = parse_relation_file(source.filename().native())) {
        entry.is_relation = true;
        entry.first_block = relation->segment * cluster_.segment_blocks;
        // A page that is half there is being added; the server's WAL has it.
        entry.size_bytes -= entry.size_bytes % cluster_.block_size;
      }
    }
    listing_.files.push_back(std::move(entry));
  }

  const ClusterInfo& cluster_;
  ClusterListing listing_;
};

}  // namespace

std::optional<RelationFile> parse_relation_file(std::string_view file_name) {
  RelationFile file;
  file.fork = "main";
  if (const auto dot = file_name.find('.'); dot != std::string_view::npos) {
    const std::string_view segment = file_name.substr(dot + 1);
    if (!all_digits(segment) || segment.size() > 6) return std::nullopt;
    std::from_chars(segment.data(), segment.data() + segment.size(), file.segment);
    file_name = file_name.substr(0, dot);
  }
  if (const auto underscore = file_name.find('_'); underscore != std::string_view::npos) {
    file.fork = file_name.substr(underscore + 1);
    if (file.fork != "fsm" && file.fork != "vm" && file.fork != "init") return std::nullopt;
    file_name = file_name.substr(0, underscore);
  }
  if (!all_digits(file_name) || file_name.size() > 18) return std::nullopt;
  std::from_chars(file_name.data(), file_name.data() + file_name.size(), file.number);
  return file;
}

bool is_temporary_relation(std::string_view file_name) {
  if (!file_name.starts_with('t')) return false;
  const auto underscore = file_name.find('_');
  return underscore != std::string_view::npos && all_digits(file_name.substr(1, underscore - 1)) &&
         parse_relation_file(file_name.substr(underscore + 1)).has_value();
}

ClusterListing list_cluster_files(const ClusterInfo& cluster) { return Walk(cluster).run(); }

std::optional<ClusterFile> stat_cluster_file(const ClusterInfo& cluster, const std::string& path) {
  const fs::path source = fs::path(cluster.data_directory) / path;
  struct stat status {};
  if (::stat(source.c_str(), &status) != 0) {
    if (errno == ENOENT) return std::nullopt;
    throw base::system_error(errno, fmt::format("cannot read {}", source.string()));
  }
  return describe(path, source, status, FileType::kFile);
}

}  // namespace holdfast::postgres
