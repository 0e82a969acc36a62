#include "repository/backup_needs.h"

#include "base/error.h"
#include "repository/file_table.h"
#include "repository/pack_format.h"

namespace holdfast::repository {
namespace {

class Collector {
 public:
  Collector(const Context& context, const Index& index, BackupNeeds& needs)
      : index_(index), needs_(needs), reader_(context, index) {}

  // Piece by piece, so that one that is damaged hides no other.
  void read_file_table(const std::vector<ChunkId>& pieces) {
    for (const ChunkId& piece : pieces) {
      need(piece);
      reading({&piece, 1}, [&] {
        load_file_table({piece}, reader_, [&](FileEntry&& entry) { read_entry(entry); });
      });
    }
  }

 private:
  void read_entry(const FileEntry& entry) {
    if (entry.path <= previous_path_) {
      throw base::Error(base::ErrorKind::kDamaged, "file table: paths are not in order");
    }
    previous_path_ = entry.path;
    if (entry.type != FileType::kFile) return;
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
  ChunkReader reader_;
  std::string previous_path_;
};

}  // namespace

BackupNeeds collect_needs(const Context& context, const Index& index, const std::string& backup) {
  BackupNeeds needs;
  needs.backup = backup;
  needs.slots.resize(index.slots().size());
  try {
    needs.record = get_record(context, backup);
  } catch (const base::Error& error) {
    if (!is_damage(error) && error.kind() != base::ErrorKind::kNotFound) throw;
    needs.problems.push_back({record_name(backup), error.what()});
    return needs;
  }
  Collector(context, index, needs).read_file_table(needs.record->file_table);
  return needs;
}

}  // namespace holdfast::repository
