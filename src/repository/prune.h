// Removes backups, logs and the packs that nothing needs any more.
//
// Objects go in the order: records, logs, packs, index objects. A pack is removed in two steps. A
// prune that finds it needed by nothing names it in a tombstone: whoever loads the index from then
// on stores its chunks anew. A prune that finds the tombstone older than the grace time, and no run
// at work that began before it, marks once more what all records need, and removes what is still
// needed by nothing. Ages are by the storage's clock alone. Killed anywhere, every backup that has
// a record is whole, and the next prune goes on. docs/retention.md has the argument.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repository/lock.h"
#include "repository/pack_totals.h"

namespace holdfast::repository {

inline constexpr base::Duration kDefaultGrace = std::chrono::hours(24);

struct PruneRequest {
  std::vector<std::string> backups{};  // ids; their records go first
  std::vector<std::string> logs{};     // names of log objects
  base::Duration grace = kDefaultGrace;
  // Keeps what nothing needs until it has been paid for by its class of storage, so that backups
  // may use it again.
  bool wait_for_minimum = false;
};

// Packs that go before the minimum time of their class of storage: that time is paid for all the
// same.
struct EarlyRemoval {
  PackTotals packs;
  double dollars = 0;             // for what remains, by storage/storage_class.h
  std::optional<base::Time> end;  // when the last one's time is over
};

// What was done; of a plan, what would be.
struct PruneReport {
  std::uint64_t backups_removed = 0;
  std::uint64_t logs_removed = 0;
  PackTotals removed;
  PackTotals condemned;               // by this prune, those that were rewritten among them
  PackTotals rewritten;               // of which the live chunks were copied
  std::uint64_t bytes_copied = 0;     // what these copies take
  PackTotals waiting;                 // condemned before, and not old enough
  PackTotals locked;                  // of these, what the store lets nobody destroy yet
  PackTotals kept_to_minimum;         // needed by nothing, and not condemned before that time
  std::optional<base::Time> next;     // when the first of those that wait can go
  EarlyRemoval early;                 // of those removed and condemned
  std::uint64_t live_bytes = 0;       // that backups need, in chunks
  std::uint64_t dead_bytes = 0;       // that remain beside them in packs that stay
  std::vector<std::string> notes;     // worth knowing
  std::vector<std::string> problems;  // that the user must look at
};

// One prune at a time: kLocked. Backups go on beside it.
std::unique_ptr<Lock> take_prune_lock(const Context& context);

// Writes nothing.
PruneReport plan_prune(const Context& context, const PruneRequest& request,
                       base::Progress& progress, std::stop_token stop);
PruneReport prune(const Context& context, const PruneRequest& request, const Lock& lock,
                  base::Progress& progress, std::stop_token stop);

}  // namespace holdfast::repository
