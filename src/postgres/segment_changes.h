// What the records in one WAL segment change: the "pg.blocks" section ("Log objects" in
// docs/format.md). Records are cut anywhere by the ends of segments; what is cut off of one that is
// needed to tell what it changes is kept, so that two segments' maps can be joined without the WAL.
#pragma once

#include <optional>
#include <string>

#include "base/bytes.h"
#include "postgres/change_map.h"
#include "postgres/wal_name.h"
#include "repository/log_object.h"

namespace holdfast::postgres {

inline constexpr const char* kChangesSection = "pg.blocks";

struct SegmentChanges {
  // How much is kept of a record that began before the segment, and of one that goes on behind it.
  static constexpr std::size_t kMaxFront = 1024;
  static constexpr std::size_t kMaxTail = 64 * 1024;

  std::uint16_t page_magic = 0;
  // Starts of records: of the last one that begins in the segment, and of that before the first. 0
  // where it does not show.
  Lsn last_record = 0;
  Lsn record_before = 0;
  Lsn covered_to = 0;  // the map has what all records changed that begin in the segment before this
  std::uint32_t continued_size = 0;  // of the record that began before the segment
  base::Bytes front;                 // its first bytes here
  bool overwrites = false;  // what the segment before left unfinished was given up: it never counts
  // All bytes here of a record that the segment's end cuts before it is told what it changes.
  base::Bytes tail;
  ChangeMap map;
};

enum class SegmentJoin {
  kDone,
  kUntold,   // too little was kept of the record between them
  kForeign,  // `later` does not go on where `earlier` ends: they are of different histories
};

// `later` is the segment behind `earlier`. Adds what the record changes that is cut between them,
// as far as `earlier` could not tell.
SegmentJoin join_segments(const SegmentChanges& earlier, const SegmentChanges& later,
                          ChangeMap& map);

// Where the map is too large to be stored, relations are called changed as a whole instead.
repository::LogSection encode_changes(SegmentChanges changes);
// Nullopt where the section is missing; kDamaged where it is malformed.
std::optional<SegmentChanges> decode_changes(const repository::LogInfo& info,
                                             const std::string& object);

}  // namespace holdfast::postgres
