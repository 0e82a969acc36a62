#include "postgres/restore.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <memory>
#include <set>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/file.h"
#include "postgres/clear_target.h"
#include "postgres/control_file.h"
#include "postgres/crc32c.h"
#include "postgres/manifest.h"
#include "postgres/recovery_settings.h"
#include "postgres/restore_files.h"
#include "postgres/restore_target.h"
#include "repository/file_content.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;
using repository::Context;
using repository::FileEntry;
using repository::FileType;

constexpr std::string_view kControlFile = "global/pg_control";
constexpr std::string_view kAutoConf = "postgresql.auto.conf";

void sync_file_system(const fs::path& directory) {
  const base::UniqueFd fd = base::open_file(directory, O_RDONLY | O_DIRECTORY);
  if (::syncfs(fd.get()) != 0) {
    throw base::system_error(errno, fmt::format("cannot write out {}", directory.string()));
  }
}

// The number that `text` begins with; nullopt where it does not.
std::optional<std::uint32_t> leading_number(std::string_view text) {
  std::uint32_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc{}) return std::nullopt;
  return number;
}

// base/5/16384 or pg_tblspc/16390/PG_15_202209061/5/16384.1: the database of a relation's file.
std::optional<std::uint32_t> database_of_relation(std::string_view path) {
  const auto name = path.rfind('/');
  if (name == std::string_view::npos || !leading_number(path.substr(name + 1))) return std::nullopt;
  const auto directory = path.rfind('/', name - 1);
  if (!path.starts_with("base/") && !path.starts_with("pg_tblspc/")) return std::nullopt;
  return leading_number(path.substr(directory + 1, name - directory - 1));
}

bool stays_empty(const FileEntry& entry, const std::optional<std::set<std::uint32_t>>& databases) {
  if (!databases || entry.type != FileType::kFile) return false;
  const std::optional<std::uint32_t> database = database_of_relation(entry.path);
  return database && !databases->contains(*database);
}

class Restore {
 public:
  Restore(const Context& context, const RestorePlan& plan, const RestoreRequest& request,
          base::Progress& progress, std::stop_token stop)
      : context_(context),
        plan_(plan),
        request_(request),
        progress_(progress),
        stop_(std::move(stop)),
        index_(repository::Index::load(context)),
        reader_(context, index_),
        places_{.data_directory = request.to} {}

  RestoreResult run() {
    load_files();
    settle_tablespaces();
    require_target();
    repository::require_thawed(context_, index_, plan_.record, request_.thaw, progress_, stop_);
    UnfinishedMark mark = request_.delta ? prepare_what_is_there() : prepare_empty();
    make_directories();
    make_holes();

    progress_.phase("restoring", bytes_);
    RestoredFiles restored =
        restore_files(context_, index_,
                      {.files = files_,
                       .target_of = [this](const FileEntry& file) { return target_of(file.path); },
                       .over = request_.delta,
                       .workers = request_.workers},
                      progress_, stop_);
    manifest_ = std::move(restored.manifest);
    fetch_backup_wal();
    write_settings();
    base::Bytes control;
    repository::read_content(control_, reader_, [&](base::ByteView piece) {
      control.insert(control.end(), piece.begin(), piece.end());
    });
    if (!request_.throwaway) write_manifest(control);

    progress_.phase("writing out", 0);
    if (!request_.throwaway) sync();
    mark.remove();
    publish(control);
    return {.bytes = bytes_,
            .bytes_written = restored.bytes_written + control.size(),
            .files = files_.size() + 1};
  }

 private:
  void load_files() {
    bool found = false;
    repository::load_file_table(plan_.record.file_table, reader_, [&](FileEntry&& entry) {
      if (entry.path == kControlFile) {
        control_ = std::move(entry);
        found = true;
        bytes_ += control_.size_bytes;
      } else if (stays_empty(entry, request_.databases)) {
        empty_files_.push_back(std::move(entry));
      } else if (entry.type == FileType::kFile) {
        bytes_ += entry.size_bytes;
        files_.push_back(std::move(entry));
      } else {
        directories_.push_back(std::move(entry));
      }
    });
    if (!found) {
      throw Error(ErrorKind::kDamaged,
                  fmt::format("{} holds no {}", plan_.record.summary.id, kControlFile));
    }
  }

  // Where each tablespace goes; every --tablespace must fit one.
  void settle_tablespaces() {
    std::set<std::string> used;
    for (const FileEntry& entry : directories_) {
      if (entry.type != FileType::kSymlink) continue;
      const auto moved = request_.tablespaces.find(entry.link_target);
      const bool is_moved = moved != request_.tablespaces.end();
      if (is_moved) used.insert(moved->first);
      places_.tablespaces[entry.path] = is_moved ? moved->second : entry.link_target;
    }
    for (const auto& [old_place, new_place] : request_.tablespaces) {
      if (!used.contains(old_place)) {
        throw Error(ErrorKind::kUsage,
                    fmt::format("--tablespace {}=…: the backup has no tablespace there", old_place),
                    fmt::format("'holdfast show {}' lists them", plan_.record.summary.id));
      }
    }
    std::set<fs::path> taken;
    for (const auto& [path, location] : places_.tablespaces) {
      if (!location.is_absolute()) {
        throw Error(ErrorKind::kUsage, fmt::format("the place of a tablespace must be absolute: {}",
                                                   location.string()));
      }
      if (!taken.insert(location.lexically_normal()).second) {
        throw Error(ErrorKind::kUsage,
                    fmt::format("two tablespaces cannot both go to {}", location.string()));
      }
    }
  }

  // Before packs are thawed, which takes hours, and again after that.
  void require_target() const {
    if (request_.delta) {
      require_replaceable(places_);
    } else {
      require_empty(places_);
      require_space();
    }
  }

  UnfinishedMark prepare_empty() const {
    require_target();
    fs::create_directories(request_.to);
    return UnfinishedMark(request_.to);
  }

  UnfinishedMark prepare_what_is_there() {
    require_target();
    fs::create_directories(request_.to);
    UnfinishedMark mark(request_.to);
    make_unstartable(places_);
    for (const std::string& note : clear_away(places_, files_, directories_)) progress_.note(note);
    return mark;
  }

  void require_space() const {
    fs::path existing = request_.to;
    while (!fs::exists(existing)) existing = existing.parent_path();
    struct statvfs space {};
    if (::statvfs(existing.c_str(), &space) != 0) return;
    const std::uint64_t free = space.f_bavail * space.f_frsize;
    if (places_.tablespaces.empty() && free < bytes_) {
      throw Error(ErrorKind::kNoSpace,
                  fmt::format("{} has {} free; the backup needs {}", existing.string(),
                              base::format_size(free), base::format_size(bytes_)));
    }
  }

  fs::path target_of(const std::string& path) const { return request_.to / path; }

  void make_directories() {
    for (const FileEntry& entry : directories_) {
      const fs::path target = target_of(entry.path);
      fs::path directory = target;
      if (entry.type == FileType::kSymlink) {
        directory = places_.tablespaces.at(entry.path);
        fs::create_directories(directory);
        if (!fs::is_symlink(target)) fs::create_symlink(directory, target);
        ownership_.apply(target, entry);
      } else {
        fs::create_directory(target);
      }
      own_directory(directory, entry);
      if (entry.path == "base")
        own_directory(request_.to, entry);  // alike: the server insists on both
    }
  }

  void make_holes() const {
    for (const FileEntry& entry : empty_files_) {
      const fs::path target = target_of(entry.path);
      const base::UniqueFd fd =
          base::open_file(target, O_WRONLY | O_CREAT | O_EXCL, entry.mode & 0777);
      if (::ftruncate(fd.get(), static_cast<off_t>(entry.size_bytes)) != 0) {
        throw base::system_error(errno, fmt::format("cannot resize {}", target.string()));
      }
      ownership_.apply(target, entry);
    }
  }

  void own_directory(const fs::path& directory, const FileEntry& entry) const {
    if (::chmod(directory.c_str(), entry.mode & 07777) != 0) {
      throw base::system_error(errno,
                               fmt::format("cannot set the rights of {}", directory.string()));
    }
    ownership_.apply(directory, entry);
  }

  // Into pg_wal: so the backup becomes consistent without its archive, and pg_verifybackup can
  // judge it.
  void fetch_backup_wal() {
    progress_.phase("fetching the backup's WAL", 0);
    std::vector<std::string> names = plan_.history_files;
    for (const SegmentName& segment : plan_.backup_wal) {
      names.push_back(format_segment_name(segment, plan_.details.wal_segment_size));
    }
    std::atomic<std::size_t> next = 0;
    base::WorkerGroup group(stop_);
    for (int i = 0; i < request_.workers; ++i) {
      group.start([&](std::stop_token stopped) {
        for (std::size_t n = next++; n < names.size(); n = next++) {
          base::throw_if_stopped(stopped);
          fetch_one(names[n]);
        }
      });
    }
    group.join();
  }

  void fetch_one(const std::string& name) const {
    const fs::path target = target_of("pg_wal/" + name);
    if (!fetch_wal(context_, plan_.details.system_id, name, target)) {
      throw Error(ErrorKind::kDamaged,
                  fmt::format("the WAL file {} has vanished from the repository", name));
    }
    ownership_.apply(target, control_);
  }

  // A server that is to stop at the end of the backup reads ahead of it all the same: what comes
  // later is not asked for, so that no damage there can matter.
  std::string restore_command() const {
    if (plan_.target.kind != RestoreTarget::Kind::kEndOfBackup || plan_.backup_wal.empty()) {
      return request_.restore_command;
    }
    return fmt::format(
        "{} --last {}", request_.restore_command,
        format_segment_name(plan_.backup_wal.back(), plan_.details.wal_segment_size));
  }

  void write_settings() {
    const fs::path path = target_of(std::string(kAutoConf));
    std::string before;
    if (!request_.throwaway && fs::exists(path))
      before = base::read_text_file(path, 16 * 1024 * 1024);
    std::vector<std::pair<std::string, std::string>> settings = {
        {"restore_command", restore_command()}};
    settings.insert(settings.end(), plan_.settings.begin(), plan_.settings.end());
    write_owned(path, with_recovery_settings(before, settings));
    write_owned(target_of("recovery.signal"), "");
  }

  void write_manifest(const base::Bytes& control) {
    manifest_.push_back(
        {control_.path, control_.size_bytes, control_.modified, crc32c(0, control)});
    const std::vector<ManifestWalRange> ranges = {
        {plan_.details.timeline, plan_.details.start_lsn, plan_.details.stop_lsn}};
    write_owned(target_of("backup_manifest"),
                make_backup_manifest(plan_.details.version_num / 10000, plan_.details.system_id,
                                     manifest_, ranges));
  }

  void write_owned(const fs::path& path, const std::string& content) const {
    base::write_file_durably(path, base::as_bytes(content), control_.mode & 0777);
    ownership_.apply(path, control_);
  }

  // Each file system that holds a directory of the backup: pg_wal too may be a disk of its own.
  void sync() const {
    std::set<dev_t> synced;
    const auto sync_once = [&](const fs::path& directory) {
      struct stat status {};
      if (::stat(directory.c_str(), &status) != 0) {
        throw base::system_error(errno, fmt::format("cannot read {}", directory.string()));
      }
      if (synced.insert(status.st_dev).second) sync_file_system(directory);
    };
    sync_once(request_.to);
    for (const FileEntry& entry : directories_) sync_once(target_of(entry.path));
  }

  // From here on the directory can be started.
  void publish(const base::Bytes& control) const {
    const fs::path path = target_of(std::string(kControlFile));
    base::write_file_durably(path, control, control_.mode & 0777);
    ownership_.apply(path, control_);
    base::fsync_directory(request_.to);
    base::fsync_directory(fs::absolute(request_.to).parent_path());
  }

  const Context& context_;
  const RestorePlan& plan_;
  const RestoreRequest& request_;
  base::Progress& progress_;
  std::stop_token stop_;
  const repository::Index index_;
  repository::ChunkReader reader_;
  Ownership ownership_;
  std::vector<FileEntry> files_;        // regular ones, without pg_control
  std::vector<FileEntry> empty_files_;  // that only get their size
  std::vector<FileEntry> directories_;  // and the links of tablespaces, in the order of their paths
  FileEntry control_;
  RestorePlaces places_;
  std::vector<ManifestFile> manifest_;
  std::uint64_t bytes_ = 0;  // of the files
};

}  // namespace

std::uint64_t bytes_to_restore(const Context& context, const RestorePlan& plan,
                               const std::optional<std::set<std::uint32_t>>& databases) {
  const repository::Index index = repository::Index::load(context);
  repository::ChunkReader reader(context, index);
  std::uint64_t bytes = 0;
  repository::load_file_table(plan.record.file_table, reader, [&](FileEntry&& entry) {
    if (!stays_empty(entry, databases)) bytes += entry.size_bytes;
  });
  return bytes;
}

bool writes_full_pages(const Context& context, const RestorePlan& plan) {
  const repository::Index index = repository::Index::load(context);
  repository::ChunkReader reader(context, index);
  FileEntry control;
  repository::load_file_table(plan.record.file_table, reader, [&](FileEntry&& entry) {
    if (entry.path == kControlFile) control = std::move(entry);
  });
  base::Bytes bytes;
  repository::read_content(control, reader, [&](base::ByteView piece) {
    bytes.insert(bytes.end(), piece.begin(), piece.end());
  });
  return parse_control_file(bytes).full_page_writes;
}

RestoreResult restore_cluster(const Context& context, const RestorePlan& plan,
                              const RestoreRequest& request, base::Progress& progress,
                              std::stop_token stop) {
  return Restore(context, plan, request, progress, std::move(stop)).run();
}

}  // namespace holdfast::postgres
