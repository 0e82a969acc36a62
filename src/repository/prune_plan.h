// Which packs a prune removes, condemns and rewrites: decided here, done in prune.cc. Internal to
// this folder.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "repository/index.h"

namespace holdfast::repository {

// All by the storage's clock.
struct PruneMoment {
  base::Time now;
  base::Duration grace{};
  std::optional<base::Time> oldest_run;   // when the oldest run that is at work began
  bool wait_for_minimum = false;          // of the packs' classes of storage
  std::map<PackId, base::Time> locked{};  // packs that the store lets nobody destroy before
};

// Numbers in the index's table of packs; a pack that it names twice goes by the first.
struct PackDecisions {
  std::vector<std::uint32_t> remove;   // condemned long enough ago, and needed by nothing
  std::vector<std::uint32_t> waiting;  // condemned, needed by nothing, not to be removed yet
  std::vector<std::uint32_t> locked;   // of these, what would go if it were not locked
  std::vector<std::uint32_t> kept_to_minimum;  // needed by nothing, but their time is not over
  std::vector<std::uint32_t> condemn;          // needed by nothing
  std::vector<std::uint32_t> rewrite;          // too much of it is needed by nothing
  std::vector<TombstoneId> settled;            // tombstones of which nothing is waiting
  std::optional<base::Time> next;              // when the first of those that wait may go
  std::vector<std::uint64_t> live;             // for each pack: bytes that are needed
  std::uint64_t live_bytes = 0;                // in packs that stay
  std::uint64_t dead_bytes = 0;                // that remain in packs that stay
  bool unreadable = false;                     // more would be rewritten if the data could be read
  std::uint64_t cold_dead_bytes = 0;  // in packs that are not rewritten for their class's sake
};

// Until when a pack is paid for, removed or not; long ago where its class has no such time.
base::Time minimum_end(const PackEntry& pack);

// `needed`: the slots of the index that a backup needs.
PackDecisions decide_on_packs(const Index& index, const std::vector<bool>& needed,
                              const PruneMoment& moment, bool can_read_data);

}  // namespace holdfast::repository
