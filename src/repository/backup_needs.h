// The chunks that a backup needs, found by reading its record and file table. Internal to this
// folder.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "repository/record.h"

namespace holdfast::repository {

struct BackupNeeds {
  std::string backup;
  std::optional<BackupRecord> record;  // none: it could not be read
  std::vector<bool> slots;             // of the index: which it needs
  std::uint64_t lost_chunks = 0;       // that stand in no pack that the index knows
  ChunkId first_lost;
  // What kept it from being read through. Chunks that only the unreadable parts name are not in
  // `slots`.
  std::vector<Index::Problem> problems;

  bool needs(std::size_t slot) const { return slots[slot]; }
};

// Damage goes to `problems`.
BackupNeeds collect_needs(const Context& context, const Index& index, const std::string& backup);

}  // namespace holdfast::repository
