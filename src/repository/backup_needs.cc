#include "repository/backup_needs.h"

#include <unordered_set>

#include "base/concurrency.h"
#include "base/error.h"
#include "crypto/hash.h"
#include "repository/file_table.h"
#include "repository/pack_format.h"

namespace holdfast::repository {
namespace {

// What has been read through already, for a backup before. A list of extents is known by the hash
// of its chunks' ids: a piece of one says nothing by itself.
struct Visited {
  std::unordered_set<ChunkId> table_pieces;
  std::unordered_set<ChunkId> extent_lists;
};

ChunkId list_key(const std::vector<ChunkId>& chunks) {
  base::ByteWriter ids;
  for (const ChunkId& id : chunks) ids.raw(id.bytes);
  return ChunkId{crypto::sha256(ids.view())};
}

class Collector {
 public:
  // `visited` null: everything is read.
  Collector(const Context& context, const Index& index, BackupNeeds& needs,
            Visited* visited = nullptr)
      : index_(index), needs_(needs), visited_(visited), reader_(context, index) {}

  void read_backup(const std::string& backup, const std::vector<ChunkId>& pieces) {
    needs_.backup = backup;
    previous_path_.clear();
    read_file_table(pieces);
  }

 private:
  // Piece by piece, so that one that is damaged hides no other.
  void read_file_table(const std::vector<ChunkId>& pieces) {
    for (const ChunkId& piece : pieces) {
      if (visited_ != nullptr && !visited_->table_pieces.insert(piece).second) continue;
      need(piece);
      reading({&piece, 1}, [&] {
        load_file_table({piece}, reader_, [&](FileEntry&& entry) { read_entry(entry); });
      });
    }
  }

  void read_entry(const FileEntry& entry) {
    if (entry.path <= previous_path_) {
      throw base::Error(base::ErrorKind::kDamaged, "file table: paths are not in order");
    }
    previous_path_ = entry.path;
    if (entry.type != FileType::kFile) return;
    if (visited_ != nullptr && !entry.extent_chunks.empty() &&
        !visited_->extent_lists.insert(list_key(entry.extent_chunks)).second) {
      return;
    }
    for (const ChunkId& id : entry.extent_chunks) need(id);
    reading(entry.extent_chunks, [&] {
      for (const Extent& extent : load_extents(entry, reader_)) need(extent.chunk);
    });
  }

  void need(const ChunkId& id) {
    if (id.is_zero_range()) return;
    if (const std::optional<std::size_t> slot = index_.slot_of(id)) {
      needs_.slots[*slot] = true;
    } else if (needs_.lost_chunks++ == 0) {
      needs_.first_lost = id;
    }
  }

  // Damage while `body` reads is that of the packs of these chunks which cannot be read; if all
  // can, they hold what the record should not have named.
  template <typename Body>
  void reading(std::span<const ChunkId> chunks, Body body) {
    try {
      body();
    } catch (const base::Error& error) {
      if (!is_damage(error)) throw;
      bool found = false;
      for (const ChunkId& id : chunks) found = blame_pack_of(id) || found;
      if (!found) needs_.problems.push_back({record_name(needs_.backup), error.what()});
    }
  }

  bool blame_pack_of(const ChunkId& id) {
    const std::optional<ChunkLocation> location = index_.find(id);
    if (!location) return true;  // counted as lost
    try {
      reader_.read(id);
      return false;
    } catch (const base::Error& error) {
      if (!is_damage(error)) throw;
      needs_.problems.push_back({pack_name(index_.pack(location->pack).id), error.what()});
      return true;
    }
  }

  const Index& index_;
  BackupNeeds& needs_;
  Visited* const visited_;
  ChunkReader reader_;
  std::string previous_path_;
};

// Nullopt, and a problem, where it cannot be read.
std::optional<BackupRecord> read_record(const Context& context, const std::string& backup,
                                        std::vector<Index::Problem>& problems) {
  try {
    return get_record(context, backup);
  } catch (const base::Error& error) {
    if (!is_damage(error) && error.kind() != base::ErrorKind::kNotFound) throw;
    problems.push_back({record_name(backup), error.what()});
    return std::nullopt;
  }
}

}  // namespace

BackupNeeds collect_needs(const Context& context, const Index& index, const BackupRecord& record) {
  BackupNeeds needs;
  needs.record = record;
  needs.slots.resize(index.slots().size());
  Collector(context, index, needs).read_backup(record.summary.id, record.file_table);
  return needs;
}

BackupNeeds collect_needs(const Context& context, const Index& index, const std::string& backup) {
  BackupNeeds needs;
  const auto record = read_record(context, backup, needs.problems);
  if (record) return collect_needs(context, index, *record);
  needs.backup = backup;
  needs.slots.resize(index.slots().size());
  return needs;
}

JoinedNeeds collect_joined_needs(const Context& context, const Index& index,
                                 const std::vector<std::string>& backups, std::stop_token stop) {
  JoinedNeeds joined;
  BackupNeeds needs;
  needs.slots.resize(index.slots().size());
  Visited visited;
  Collector collector(context, index, needs, &visited);
  for (const std::string& backup : backups) {
    base::throw_if_stopped(stop);
    const auto record = read_record(context, backup, needs.problems);
    if (!record) continue;
    const std::uint64_t lost_before = needs.lost_chunks;
    collector.read_backup(backup, record->file_table);
    if (needs.lost_chunks != lost_before) joined.with_losses.push_back(backup);
    joined.indexes.insert(record->indexes.begin(), record->indexes.end());
  }
  joined.slots = std::move(needs.slots);
  joined.problems = std::move(needs.problems);
  return joined;
}

}  // namespace holdfast::repository
