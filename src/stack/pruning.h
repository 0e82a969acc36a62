// Removes what no job keeps any more: backups, logs, and what only they needed.
#pragma once

#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repository/prune.h"
#include "stack/component.h"
#include "stack/retention.h"

namespace holdfast::stack {

struct PruningOptions {
  bool dry_run = false;  // nothing is written
  base::Duration grace = repository::kDefaultGrace;
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
  std::map<std::string, RecoveryWindow> windows;  // of each component, afterwards
  repository::PruneReport report;
};

// kLocked while another prune is at work. The time is the earlier one of the host's and the
// storage's clock (a dry run asks the host alone): a clock that is wrong delays.
Pruning prune_repository(const repository::Context& context, const Config& config,
                         const PruningOptions& options, base::Progress& progress,
                         std::stop_token stop);

}  // namespace holdfast::stack
