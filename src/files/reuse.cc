#include "files/reuse.h"

#include <algorithm>

#include "base/error.h"

namespace holdfast::files {
namespace {

using repository::FileEntry;
using repository::PackClass;

}  // namespace

bool is_same_file(const FileEntry& before, const FileEntry& now, base::Time backup_began) {
  if (before.type != now.type || !before.sighting || before.sighting != now.sighting ||
      before.size_bytes != now.size_bytes || before.modified != now.modified ||
      before.modified_ns != now.modified_ns) {
    return false;
  }
  // Kernels stamp files with a clock that moves every 10 ms at least; file systems without
  // fractions with one that moves every second or two.
  constexpr std::int64_t kSecond = 1'000'000'000;
  const std::int64_t changed_ns = before.sighting->changed_ns;
  const std::int64_t granularity_ns = changed_ns % kSecond == 0 ? 2 * kSecond : kSecond / 80;
  const std::int64_t began_ns =
      std::chrono::duration_cast<std::chrono::nanoseconds>(backup_began.time_since_epoch()).count();
  return changed_ns < began_ns - granularity_ns;
}

Reuse::Reuse(const repository::Context& context, const repository::Index& index,
             const repository::BackupRecord& before)
    : index_(index),
      reader_(context, index),
      began_(before.summary.started),
      pieces_(before.file_table) {}

const FileEntry* Reuse::find(const FileEntry& now) {
  do {
    while (at_ < entries_.size() && entries_[at_].path < now.path) ++at_;
  } while (at_ == entries_.size() && load_next_piece());
  if (at_ == entries_.size() || entries_[at_].path != now.path) return nullptr;
  const FileEntry& before = entries_[at_];
  return is_same_file(before, now, began_) && is_held(before) ? &before : nullptr;
}

// False where there is none. One that cannot be read is as one without entries.
bool Reuse::load_next_piece() {
  if (next_piece_ == pieces_.size()) return false;
  entries_.clear();
  at_ = 0;
  try {
    repository::load_file_table({pieces_[next_piece_++]}, reader_,
                                [&](FileEntry&& entry) { entries_.push_back(std::move(entry)); });
  } catch (const base::Error& error) {
    if (error.kind() != base::ErrorKind::kDamaged) throw;
    entries_.clear();
    damage_ = error.what();
  }
  return true;
}

bool Reuse::is_held(const FileEntry& entry) {
  const auto holds_data = [&](const repository::Extent& extent) {
    return extent.chunk.is_zero_range() || index_.holds(extent.chunk, PackClass::kData);
  };
  for (const repository::ChunkId& chunk : entry.extent_chunks) {
    if (!index_.holds(chunk, PackClass::kMetadata)) return false;
  }
  if (entry.extent_chunks.empty()) {
    return std::all_of(entry.extents.begin(), entry.extents.end(), holds_data);
  }
  try {
    const auto extents = repository::load_extents(entry, reader_);
    return std::all_of(extents.begin(), extents.end(), holds_data);
  } catch (const base::Error& error) {
    if (error.kind() != base::ErrorKind::kDamaged) throw;
    return false;
  }
}

}  // namespace holdfast::files
