// Along which segments a server replays: the archived WAL as seen from one backup and one timeline.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "postgres/backup_details.h"
#include "postgres/wal_archive.h"

namespace holdfast::postgres {

class ReplayPath {
 public:
  // `history` ends in the target timeline; it and `wal` outlive the path.
  ReplayPath(const WalInventory& wal, const BackupDetails& details, const TimelineHistory& history);

  // Segments from the backup's first on, in order, until the first that is not there.
  const std::vector<SegmentName>& segments() const { return segments_; }
  bool covers_backup() const;  // all WAL from the backup's start to its stop is there
  // Numbers of segments that are missing although later ones of the target timeline are there.
  std::vector<SegmentName> gap() const;
  // The segments between the backup's first one and `number` that are missing.
  std::vector<SegmentName> missing_up_to(std::uint64_t number) const;

 private:
  std::optional<SegmentName> find(std::uint64_t number) const;
  SegmentName expected(std::uint64_t number) const;

  const WalInventory& wal_;
  const BackupDetails& details_;
  const TimelineHistory& history_;
  std::vector<SegmentName> segments_;
};

// The history of a timeline as archived; one without parents for a timeline that has none there.
TimelineHistory history_of(const WalInventory& wal, std::uint32_t timeline);
// Of the greatest timeline on which the end of that backup lies.
TimelineHistory latest_history(const WalInventory& wal, const BackupDetails& details);

}  // namespace holdfast::postgres
