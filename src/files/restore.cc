#include "files/restore.h"

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "files/delta_survey.h"
#include "files/entry_rights.h"
#include "files/file_writer.h"
#include "files/restore_plan.h"
#include "files/target_tree.h"

namespace holdfast::files {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;
using repository::Context;
using repository::FileEntry;
using repository::FileType;

class Restore {
 public:
  Restore(const Context& context, const repository::BackupRecord& record,
          const RestoreRequest& request, base::Progress& progress, std::stop_token stop)
      : context_(context),
        record_(record),
        request_(request),
        shown_(request.secret),
        progress_(progress),
        stop_(std::move(stop)),
        index_(repository::Index::load(context)),
        tree_(request.to, request.delta, shown_, context.random),
        rights_(tree_, shortfalls_) {}

  RestoreResult run() {
    plan();
    require_target();
    repository::require_thawed(context_, index_, record_, request_.thaw, progress_, stop_);
    require_target();
    tree_.make(root_entry_ || request_.secret ? 0700 : 0777);
    add_file_system(tree_.root());
    // It was empty: nobody else's rights are taken.
    if (request_.secret && !request_.delta && ::fchmod(tree_.root(), 0700) != 0) {
      result_.warnings.push_back(
          fmt::format("{} is not ours: who may look into it sees the names of the secrets",
                      request_.to.native()));
    }
    if (::geteuid() != 0 && root_entry_) make_accessible(tree_.root());
    if (request_.delta) survey_.emplace(tree_, plan_, may_remove(), stop_);

    progress_.phase("restoring", plan_.bytes);
    cursor_.emplace(tree_.root());
    make_directories();
    result_.bytes_written =
        write_files(context_, index_, tree_, files(), shortfalls_, progress_, stop_);
    make_special_files();
    make_hard_links();
    set_directories(rights_);
    progress_.phase("writing out", 0);
    file_systems_.write_out();
    if (survey_) remove_what_is_more();
    result_.bytes = plan_.bytes;
    for (std::string& warning : shortfalls_.as_warnings(shown_)) {
      result_.warnings.push_back(std::move(warning));
    }
    return std::move(result_);
  }

 private:
  void plan() {
    repository::ChunkReader reader(context_, index_);
    plan_ = plan_restore(record_, request_.only, shown_, reader);
    made_.resize(plan_.entries.size());
    if (plan_.details && !request_.secret && !plan_.details->root_entry.on_the_way) {
      root_entry_ = plan_.details->root_entry;
    }
  }

  bool may_remove() const { return !request_.secret && request_.only.empty(); }

  // Before packs are thawed, which takes hours, and again after that.
  void require_target() const {
    tree_.require_usable();
    if (!request_.delta) require_space();
  }

  void require_space() const {
    fs::path existing = request_.to;
    std::error_code ignored;
    while (!fs::exists(existing, ignored) && existing.has_relative_path()) {
      existing = existing.parent_path();
    }
    struct statvfs space {};
    if (::statvfs(existing.c_str(), &space) != 0) return;
    const std::uint64_t free = space.f_bavail * space.f_frsize;
    if (free >= plan_.bytes) return;
    // Perhaps the most of it are holes.
    repository::ChunkReader reader(context_, index_);
    const std::uint64_t needed = content_bytes(plan_.entries, reader);
    if (free >= needed) return;
    throw Error(ErrorKind::kNoSpace,
                fmt::format("{} has {} free; the backup needs {}", existing.native(),
                            base::format_size(free), base::format_size(needed)));
  }

  void add_file_system(int directory) {
    struct stat status {};
    if (::fstat(directory, &status) != 0) {
      throw base::system_error(errno, "cannot look at a directory that is restored to");
    }
    file_systems_.add(directory, status.st_dev);
  }

  // In the order of the table: none before the one that it stands in. With no rights for others
  // until all is in them.
  void make_directories() {
    for (std::size_t i = 0; i < plan_.entries.size(); ++i) {
      const FileEntry& entry = plan_.entries[i];
      if (entry.type != FileType::kDirectory) continue;
      base::throw_if_stopped(stop_);
      const Directory parent = tree_.parent_of(*cursor_, entry.path);
      if (::mkdirat(parent->get(), name_of(entry.path).c_str(), 0700) == 0) {
        made_[i] = true;
      } else if (errno != EEXIST || !request_.delta) {
        tree_.fail(errno, "create", entry.path);
      } else {
        made_[i] = take_or_replace_directory(parent, entry);
      }
    }
  }

  // Whether it was replaced.
  bool take_or_replace_directory(const Directory& parent, const FileEntry& entry) {
    if (is_there(parent, entry, S_IFDIR)) {
      const Directory directory = cursor_->find(entry.path);
      if (!directory) tree_.fail(errno, "open", entry.path);
      if (::geteuid() != 0 && !entry.on_the_way) make_accessible(directory->get());
      add_file_system(directory->get());
      return false;
    }
    NewEntry directory(tree_, parent, entry);
    directory.create([](int at, const char* name) { return ::mkdirat(at, name, 0700); });
    directory.put_in_place();
    return true;
  }

  // Whether something of that type, and of one name, stands there.
  static bool is_there(const Directory& parent, const FileEntry& entry, mode_t type) {
    struct stat status {};
    return ::fstatat(parent->get(), name_of(entry.path).c_str(), &status, AT_SYMLINK_NOFOLLOW) ==
               0 &&
           (status.st_mode & S_IFMT) == type && (type == S_IFDIR || status.st_nlink == 1);
  }

  FilesToWrite files() {
    FilesToWrite files{.files = {}, .workers = request_.workers};
    const auto links = request_.delta ? links_there() : std::unordered_map<std::string, nlink_t>();
    for (const FileEntry& entry : plan_.entries) {
      if (entry.type != FileType::kFile) continue;
      ++result_.files;
      if (!entry.hard_link.empty()) continue;
      const auto own = links.find(entry.path);
      files.files.push_back({&entry, own == links.end() ? 1 : own->second});
    }
    return files;
  }

  // How many of the names that a file has in the backup are names of the file there.
  std::unordered_map<std::string, nlink_t> links_there() {
    std::unordered_map<std::string, nlink_t> links;
    for (const FileEntry& entry : plan_.entries) {
      if (entry.hard_link.empty()) continue;
      const auto own = links.try_emplace(entry.hard_link, 1).first;
      if (is_linked(entry)) ++own->second;
    }
    return links;
  }

  bool is_linked(const FileEntry& entry) {
    struct stat first {};
    struct stat other {};
    return look_at(entry.hard_link, first) && look_at(entry.path, other) &&
           first.st_dev == other.st_dev && first.st_ino == other.st_ino;
  }

  bool look_at(const std::string& path, struct stat& status) {
    const Directory parent = cursor_->find(directory_of(path));
    return parent &&
           ::fstatat(parent->get(), name_of(path).c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
  }

  void make_special_files() {
    for (const FileEntry& entry : plan_.entries) {
      if (entry.type != FileType::kSymlink && entry.type != FileType::kFifo) continue;
      base::throw_if_stopped(stop_);
      const Directory parent = tree_.parent_of(*cursor_, entry.path);
      if (request_.delta && is_same(parent, entry)) {
        rights_.set(parent->get(), name_of(entry.path), entry);
        continue;
      }
      NewEntry made(tree_, parent, entry);
      made.create([&](int at, const char* name) {
        return entry.type == FileType::kFifo ? ::mkfifoat(at, name, 0600)
                                             : ::symlinkat(entry.link_target.c_str(), at, name);
      });
      rights_.set(parent->get(), made.name(), entry);
      made.put_in_place();
    }
  }

  static bool is_same(const Directory& parent, const FileEntry& entry) {
    if (entry.type == FileType::kFifo) return is_there(parent, entry, S_IFIFO);
    if (!is_there(parent, entry, S_IFLNK)) return false;
    std::string target(entry.link_target.size() + 1, '\0');
    const ssize_t size =
        ::readlinkat(parent->get(), name_of(entry.path).c_str(), target.data(), target.size());
    return size >= 0 && target.substr(0, static_cast<std::size_t>(size)) == entry.link_target;
  }

  void make_hard_links() {
    DirectoryCursor first_cursor(tree_.root());
    for (const FileEntry& entry : plan_.entries) {
      if (entry.hard_link.empty()) continue;
      base::throw_if_stopped(stop_);
      if (request_.delta && is_linked(entry)) continue;
      const Directory first = tree_.parent_of(first_cursor, entry.hard_link);
      const std::string first_name = name_of(entry.hard_link);
      NewEntry link(tree_, tree_.parent_of(*cursor_, entry.path), entry);
      link.create([&](int at, const char* name) {
        return ::linkat(first->get(), first_name.c_str(), at, name, 0);
      });
      link.put_in_place();
    }
  }

  // The deepest first: what comes later changes none that has its time.
  void set_directories(RightsSetter& rights) {
    for (std::size_t i = plan_.entries.size(); i-- > 0;) {
      const FileEntry& entry = plan_.entries[i];
      if (entry.type != FileType::kDirectory || (entry.on_the_way && !made_[i])) continue;
      const Directory parent = tree_.parent_of(*cursor_, entry.path);
      const base::UniqueFd directory(::openat(parent->get(), name_of(entry.path).c_str(),
                                              O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!directory) tree_.fail(errno, "open", entry.path);
      rights.set(directory.get(), entry);
    }
    if (root_entry_ && (request_.only.empty() || tree_.was_made())) {
      rights.set(tree_.root(), *root_entry_);
    }
  }

  void remove_what_is_more() {
    const DeltaSurvey::Removed removed = survey_->remove(tree_.set_aside(), stop_);
    result_.removed = removed.count;
    result_.notes = removed.notes;
    result_.warnings = removed.warnings;
    if (!removed.any) return;
    Shortfalls counted_before;
    RightsSetter rights(tree_, counted_before);
    set_directories(rights);
    file_systems_.write_out();
  }

  const Context& context_;
  const repository::BackupRecord& record_;
  const RestoreRequest& request_;
  const Shown shown_;
  base::Progress& progress_;
  const std::stop_token stop_;
  const repository::Index index_;
  TargetTree tree_;
  Shortfalls shortfalls_;
  RightsSetter rights_;
  FileSystems file_systems_;
  RestorePlan plan_;
  std::vector<bool> made_;  // directories of the plan that were not there
  std::optional<FileEntry> root_entry_;
  std::optional<DirectoryCursor> cursor_;
  std::optional<DeltaSurvey> survey_;
  RestoreResult result_;
};

}  // namespace

RestoreResult restore_tree(const Context& context, const repository::BackupRecord& record,
                           const RestoreRequest& request, base::Progress& progress,
                           std::stop_token stop) {
  return Restore(context, record, request, progress, std::move(stop)).run();
}

}  // namespace holdfast::files
