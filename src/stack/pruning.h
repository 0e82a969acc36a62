// Removes what no job keeps any more: backups, logs, and what only they needed.
#pragma once

#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repository/prune.h"
#include "repository/retention_lock.h"
#include "stack/component.h"
#include "stack/retention.h"

namespace holdfast::stack {

struct PruningOptions {
  bool dry_run = false;  // nothing is written
  base::Duration grace = repository::kDefaultGrace;
  bool wait_for_minimum = false;  // as in repository::PruneRequest
  // Its name: only jobs that write there say how long a backup is kept there, so what was copied to
  // it outlives the original. Empty: all do.
  std::string repository = {};
};

struct PrunedBackup {
  BackupInQuestion backup;
  BackupFate fate;
};

// What was done; of a dry run, what would be.
struct Pruning {
  base::Time now;                     // the moment that ages are counted to
  std::vector<PrunedBackup> backups;  // oldest first
  std::vector<std::string> logs;      // that go
  std::uint64_t logs_bytes = 0;
  // What would go, but the store lets nobody destroy it yet: backups (they are kept in `backups`)
  // and logs; and when the first of them is free.
  std::uint64_t locked_backups = 0;
  std::uint64_t locked_logs = 0;
  std::optional<base::Time> next_unlocked;
  std::uint64_t uploads = 0;                      // unfinished ones of killed runs, aborted
  std::optional<repository::Coverage> coverage;   // of the backups that stay; not of a dry run
  std::map<std::string, RecoveryWindow> windows;  // of each component, afterwards
  repository::PruneReport report;
};

// kLocked while another prune is at work. The time is the earlier one of the host's and the
// storage's clock (a dry run asks the host alone): a clock that is wrong delays.
Pruning prune_repository(const repository::Context& context, const Config& config,
                         const PruningOptions& options, base::Progress& progress,
                         std::stop_token stop);

}  // namespace holdfast::stack
