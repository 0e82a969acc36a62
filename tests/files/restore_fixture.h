// A repository in memory for the tests of a restore, and trees stored in it as a backup stores
// them.
#pragma once

#include "files/details.h"
#include "files/restore.h"
#include "repository/chunk_hash.h"
#include "repository/sample_backup.h"
#include "storage/temporary_directory.h"
#include "tree_snapshot.h"

namespace holdfast::files {

using repository::FileEntry;
using repository::FileType;

// A repository in memory, and a directory for trees.
class RestoreTest : public testing::Test {
 protected:
  static constexpr std::size_t kChunk = 64 * 1024;

  // Of one file; ranges of zeros become holes.
  static void store_content(FileEntry& entry, base::ByteView content,
                            repository::ChunkStore::Writer& writer) {
    entry.size_bytes = content.size();
    for (std::size_t at = 0; at < content.size(); at += kChunk) {
      const base::ByteView piece = content.subspan(at, std::min(kChunk, content.size() - at));
      const bool zero = repository::all_zero(piece);
      if (zero && !entry.extents.empty() && entry.extents.back().chunk.is_zero_range()) {
        entry.extents.back().length_bytes += piece.size();
      } else {
        entry.extents.push_back(
            {piece.size(), zero ? repository::ChunkId{} : writer.put_bytes(piece), 0});
      }
    }
    repository::store_extents(entry, writer);
  }

  static FileEntry entry_of(const fs::path& full, const std::string& path) {
    const struct stat status = status_of(full);
    FileEntry entry;
    entry.path = path;
    entry.mode = status.st_mode & 07777;
    entry.uid = status.st_uid;
    entry.gid = status.st_gid;
    entry.modified = base::Time(std::chrono::seconds(status.st_mtim.tv_sec) +
                                std::chrono::microseconds(status.st_mtim.tv_nsec / 1000));
    entry.modified_ns = static_cast<std::uint32_t>(status.st_mtim.tv_nsec % 1000);
    entry.type = S_ISDIR(status.st_mode)    ? FileType::kDirectory
                 : S_ISLNK(status.st_mode)  ? FileType::kSymlink
                 : S_ISFIFO(status.st_mode) ? FileType::kFifo
                                            : FileType::kFile;
    if (entry.type == FileType::kSymlink) entry.link_target = fs::read_symlink(full).string();
    for (const auto& [name, value] : xattrs_of(full)) entry.xattrs.push_back({name, value});
    return entry;
  }

  // A backup of a tree as it stands there.
  repository::BackupRecord store_tree(const fs::path& root) {
    repository::StoreRun run(repository_.context());
    std::vector<FileEntry> entries;
    std::map<ino_t, std::size_t> first_names;
    for (const std::string& path : paths_below(root)) {
      FileEntry entry = entry_of(root / path, path);
      if (entry.type == FileType::kFile) {
        const auto [first, is_new] =
            first_names.try_emplace(status_of(root / path).st_ino, entries.size());
        if (is_new) {
          store_content(entry, content_of(root / path), *run.writer);
        } else {
          const FileEntry& same = entries[first->second];
          entry.hard_link = same.path;
          entry.size_bytes = same.size_bytes;
          entry.extents = same.extents;
          entry.extent_chunks = same.extent_chunks;
        }
      }
      entries.push_back(std::move(entry));
    }
    details_.root_entry = entry_of(root, "");
    repository::BackupRecord record = make_record(root);
    record.file_table = repository::store_file_table(entries, *run.writer);
    record.indexes = run.finish();
    return record;
  }

  // Of entries made by hand.
  repository::BackupRecord store_entries(const std::vector<FileEntry>& entries) {
    repository::StoreRun run(repository_.context());
    repository::BackupRecord record = make_record("");
    record.file_table = repository::store_file_table(entries, *run.writer);
    record.indexes = run.finish();
    return record;
  }

  RestoreResult restore(const repository::BackupRecord& record, RestoreRequest request = {}) {
    if (request.to.empty()) request.to = to_;
    request.secret = request.secret || record.summary.type == kSecretsType;
    return restore_tree(repository_.context(), record, request, progress_, {});
  }
  RestoreResult restore_over(const repository::BackupRecord& record) {
    return restore(record, {.to = to_, .delta = true});
  }
  base::Error error_of_restore(const repository::BackupRecord& record,
                               RestoreRequest request = {}) {
    return repository::error_of([&] { restore(record, std::move(request)); });
  }

  storage::TemporaryDirectory directory_;
  const fs::path source_ = directory_.path() / "source";
  const fs::path to_ = directory_.path() / "to";
  repository::TestRepository repository_;
  base::NoProgress progress_;
  FilesDetails details_;
  bool secret_ = false;

 private:
  repository::BackupRecord make_record(const fs::path& root) {
    repository::BackupRecord record;
    record.summary.started = repository_.clock.now();
    record.summary.component = "files";
    record.summary.id = repository::make_backup_id("files", record.summary.started);
    record.summary.type = secret_ ? kSecretsType : kFilesType;
    record.summary.kind = "full";
    record.summary.details_key = "files";
    details_.root = root.string();
    record.summary.details_json = details_to_json(details_, secret_);
    return record;
  }
};

}  // namespace holdfast::files
