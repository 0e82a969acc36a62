#include "files/backup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/concurrency.h"
#include "base/error.h"
#include "files/details.h"
#include "files/file_reader.h"
#include "files/reuse.h"
#include "repository/backup_run.h"

namespace holdfast::files {
namespace {

using base::Error;
using base::ErrorKind;
using repository::BackupRecord;
using repository::BackupSummary;
using repository::Context;
using repository::FileEntry;
using repository::FileType;

// Warnings name so many files; the record's details name all.
constexpr std::size_t kNamedInWarnings = 20;

class FilesBackup {
 public:
  FilesBackup(const Context& context, const BackupRequest& request, repository::BackupRun& run,
              base::Progress& progress, std::stop_token stop)
      : context_(context),
        request_(request),
        run_(run),
        progress_(progress),
        stop_(std::move(stop)) {}

  BackupSummary run() {
    summary_.type = request_.secret ? kSecretsType : kFilesType;
    summary_.kind = "full";
    summary_.job = request_.job;
    run_.begin(summary_);
    progress_.phase("listing the files", 0);
    tree_ = list_tree(request_.root, Selection(request_.include, request_.exclude), stop_);
    tell_of_idle_patterns();
    details_.lost = std::move(tree_.unreadable);
    details_.left_out = std::move(tree_.left_out);
    take_over_what_is_unchanged();

    repository::ChunkStore store(context_, run_.index(), {});
    read_files(store);
    read_attributes_of_directories();
    complete_links();
    if (table_before_is_damaged_) make_another_table();
    BackupRecord record;
    const auto writer = store.new_writer();
    record.file_table = repository::store_file_table(tree_.entries, *writer);
    writer->finish();
    progress_.phase("writing the last packs", 0);
    record.indexes = store.finish();
    fill_summary(store.statistics());
    record.summary = summary_;
    run_.publish(record, stop_);
    return record.summary;
  }

 private:
  void tell_of_idle_patterns() {
    const auto idle = patterns_without_effect(request_.include, tree_);
    if (idle.empty()) return;
    progress_.note(fmt::format("{}: nothing is there that is meant by {} of `include`",
                               request_.component,
                               request_.secret ? fmt::format("{} of the patterns", idle.size())
                                               : fmt::format("{}", fmt::join(idle, ", "))));
  }

  void take_over_what_is_unchanged() {
    is_taken_.resize(tree_.entries.size());
    if (!request_.incremental) return;
    const auto before = run_.take_newest();
    if (!before) {
      progress_.note(fmt::format(
          "{}: this is a full backup, because there is no backup to build on", request_.component));
      return;
    }
    Reuse reuse(context_, run_.index(), *before);
    for (std::size_t i = 0; i < tree_.entries.size(); ++i) {
      FileEntry& entry = tree_.entries[i];
      if (entry.type == FileType::kSymlink || !entry.hard_link.empty()) continue;
      if (const FileEntry* same = reuse.find(entry)) take_over(*same, i);
    }
    table_before_is_damaged_ = !reuse.damage().empty();
    if (!table_before_is_damaged_ || details_.files_reused > 0) summary_.kind = "incremental";
    if (table_before_is_damaged_) {
      progress_.note(
          fmt::format("{}: {}, because the table of {} cannot be read{}", request_.component,
                      details_.files_reused > 0 ? "files are read again" : "this is a full backup",
                      before->summary.id, request_.secret ? "" : ": " + reuse.damage()));
    }
  }

  void take_over(const FileEntry& same, std::size_t number) {
    FileEntry& entry = tree_.entries[number];
    entry.extents = same.extents;
    entry.extent_chunks = same.extent_chunks;
    entry.xattrs = same.xattrs;
    is_taken_[number] = true;
    if (entry.type == FileType::kFile) ++details_.files_reused;
  }

  void read_files(repository::ChunkStore& store) {
    std::vector<FileToRead> files;
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < tree_.entries.size(); ++i) {
      FileEntry& entry = tree_.entries[i];
      if (entry.type != FileType::kFile || is_taken_[i] || !entry.hard_link.empty()) continue;
      files.push_back({.entry = &entry});
      total += entry.size_bytes;
    }
    progress_.phase("reading", total);
    base::Throttle throttle(request_.rate_bytes);
    const ReadingLimits limits{request_.workers, throttle};
    const repository::ContentCutter cutter(context_.keyring.identity);
    FileReader reader(request_.root, cutter, store, limits, progress_);
    while (!files.empty()) {
      reader.read(files, stop_);
      for (const FileToRead& file : files) note_outcome(file);
      files = files_of_their_own(files);
    }
    summary_.bytes_read = reader.bytes_read();
  }

  // Names of files whose first name was gone when it was to be read, or was another file's by then
  // (what an editor does that writes anew and renames): the next name of each is read for all.
  std::vector<FileToRead> files_of_their_own(const std::vector<FileToRead>& read) {
    std::map<std::string_view, const FileToRead*> first_names;
    for (const FileToRead& file : read) first_names[file.entry->path] = &file;
    std::map<std::string, const FileEntry*> next_names;  // by the first
    std::vector<FileToRead> files;
    for (FileEntry& entry : tree_.entries) {
      if (entry.hard_link.empty()) continue;
      const auto first = first_names.find(entry.hard_link);
      if (first == first_names.end()) continue;
      const FileToRead& file = *first->second;
      const bool is_gone = file.outcome == FileToRead::Outcome::kVanished;
      if (!is_gone && (file.inode == 0 || file.inode == entry.sighting->inode)) continue;
      const auto [next, is_next] = next_names.try_emplace(entry.hard_link, &entry);
      if (is_next) {
        entry.hard_link.clear();
        files.push_back({.entry = &entry});
      } else {
        entry.hard_link = next->second->path;
      }
    }
    return files;
  }

  void note_outcome(const FileToRead& file) {
    using Outcome = FileToRead::Outcome;
    if (file.outcome == Outcome::kRead) return;
    const bool lost = file.outcome == Outcome::kUnreadable;
    (lost ? details_.lost : details_.changed).push_back({file.entry->path, file.problem});
    if (file.outcome != Outcome::kChanged) gone_.insert(file.entry->path);
  }

  void read_attributes_of_directories() {
    TreeOpener opener(request_.root);
    for (std::size_t i = 0; i < tree_.entries.size(); ++i) {
      FileEntry& entry = tree_.entries[i];
      if (entry.type != FileType::kDirectory || is_taken_[i]) continue;
      const base::UniqueFd fd(opener.open(entry.path, O_RDONLY | O_DIRECTORY));
      if (fd) {
        read_attributes(fd.get(), entry);
      } else {
        entry.sighting.reset();  // so that the next backup looks for its attributes
      }
    }
    const base::UniqueFd fd = base::open_file(request_.root, O_RDONLY | O_DIRECTORY);
    read_attributes(fd.get(), tree_.root);
  }

  void read_attributes(int fd, FileEntry& entry) {
    std::string problem;
    entry.xattrs = read_xattrs(fd, problem);
    if (problem.empty()) return;
    entry.sighting.reset();
    details_.changed.push_back({entry.path, problem});
  }

  // Other names of a file have its content, times and rights; where it could not be read, neither
  // could they.
  void complete_links() {
    std::map<std::string_view, const FileEntry*> files;
    for (const FileEntry& entry : tree_.entries) {
      if (entry.type == FileType::kFile && entry.hard_link.empty()) files[entry.path] = &entry;
    }
    for (FileEntry& entry : tree_.entries) {
      if (entry.hard_link.empty()) continue;
      if (gone_.contains(entry.hard_link)) {
        gone_.insert(entry.path);
        details_.lost.push_back({entry.path, "it could not be read under its other name"});
        continue;
      }
      FileEntry copy = *files.at(entry.hard_link);
      copy.hard_link = std::move(entry.hard_link);
      copy.path = std::move(entry.path);
      entry = std::move(copy);
    }
    std::erase_if(tree_.entries,
                  [&](const FileEntry& entry) { return gone_.contains(entry.path); });
  }

  // The same table would be the same chunks, and those are what cannot be read.
  void make_another_table() {
    for (FileEntry& entry : tree_.entries) entry.sighting.reset();
  }

  void fill_summary(const repository::StoreStatistics& statistics) {
    for (const FileEntry& entry : tree_.entries) {
      if (entry.type != FileType::kFile) continue;
      ++summary_.files;
      if (entry.hard_link.empty()) summary_.bytes += entry.size_bytes;
    }
    summary_.bytes_stored = statistics.bytes_stored;
    details_.root = request_.root;
    details_.include = request_.include;
    details_.exclude = request_.exclude;
    details_.root_entry = std::move(tree_.root);
    details_.files_lost = details_.lost.size();
    details_.files_changed = details_.changed.size();
    details_.files_left_out = details_.left_out.size();
    if (summary_.files == 0) {
      summary_.warnings.push_back(
          fmt::format("{}: there is no file in it: what its configuration means is not there",
                      request_.component));
    }
    warn(details_.lost, "could not be read");
    warn(details_.changed, "changed while the backup ran");
    if (details_.files_left_out > 0) {
      progress_.note(fmt::format("{}: {} sockets, devices and the like were left out",
                                 request_.component, details_.files_left_out));
    }
    summary_.details_key = kDetailsKey;
    summary_.details_json = details_to_json(details_, request_.secret);
  }

  // What a secret's problem is says no name either.
  void warn(const std::vector<Problem>& problems, std::string_view what) {
    if (problems.empty()) return;
    const auto add = [&](std::string text) { summary_.warnings.push_back(std::move(text)); };
    if (request_.secret) {
      std::map<std::string, std::size_t> reasons;
      for (const Problem& problem : problems) ++reasons[problem.what];
      for (const auto& [reason, count] : reasons) {
        add(fmt::format("{}: {} of its files {}: {}", request_.component, count, what, reason));
      }
      return;
    }
    for (std::size_t i = 0; i < std::min(problems.size(), kNamedInWarnings); ++i) {
      add(fmt::format("{}: {}: {}", request_.component,
                      problems[i].path.empty() ? "its root" : base::printable(problems[i].path),
                      problems[i].what));
    }
    if (problems.size() > kNamedInWarnings) {
      add(fmt::format("{}: {} more files {} (`holdfast show {}` names them)", request_.component,
                      problems.size() - kNamedInWarnings, what, summary_.id));
    }
  }

  const Context& context_;
  const BackupRequest& request_;
  repository::BackupRun& run_;
  base::Progress& progress_;
  std::stop_token stop_;
  Tree tree_;
  bool table_before_is_damaged_ = false;
  std::vector<bool> is_taken_;  // by the number of the entry: as the backup before had it
  std::set<std::string, std::less<>> gone_;  // paths of what is not in the backup after all
  FilesDetails details_;
  BackupSummary summary_;
};

}  // namespace

BackupSummary take_backup(const Context& context, const BackupRequest& request,
                          base::Progress& progress, std::stop_token stop) {
  repository::BackupRun run(context, request.component, progress);
  BackupSummary summary = FilesBackup(context, request, run, progress, std::move(stop)).run();
  run.end(summary);
  return summary;
}

}  // namespace holdfast::files
