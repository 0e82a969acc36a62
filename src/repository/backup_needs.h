// The chunks that a backup needs, found by reading its record and file table. Internal to this
// folder.
#pragma once

#include <optional>
#include <set>
#include <stop_token>
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
// Of a record that may not have been put yet.
BackupNeeds collect_needs(const Context& context, const Index& index, const BackupRecord& record);

// What several backups need together: one bit a slot, however many they are. What a backup shares
// with one before it is not read again.
struct JoinedNeeds {
  std::vector<bool> slots;
  std::set<IndexId> indexes;               // that the records name
  std::vector<std::string> with_losses;    // backups that need chunks which stand in no pack
  std::vector<Index::Problem> problems{};  // as above; where there are any, more may be needed
};
JoinedNeeds collect_joined_needs(const Context& context, const Index& index,
                                 const std::vector<std::string>& backups, std::stop_token stop);

}  // namespace holdfast::repository
