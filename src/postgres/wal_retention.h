// Which archived WAL no backup and no recovery window needs any more. The rules, and why they are
// so: docs/retention.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "repository/record.h"

namespace holdfast::postgres {

struct WalRetention {
  struct Backup {
    repository::BackupSummary summary;
    base::Time ended;
  };
  std::vector<Backup> kept;            // all that stay, of all PostgreSQL components
  std::optional<base::Duration> keep;  // none: as long as a backup that stays can use it
  base::Time now;                      // objects' ages are by the storage's clock
  // When the oldest run at work began: what was put since may be its backup's.
  std::optional<base::Time> oldest_run;
  // Whether old WAL of systems of which no backup stays may go.
  bool other_systems = false;
};

struct WalRemoval {
  std::vector<std::string> objects;
  std::uint64_t bytes = 0;
};

// Timeline histories always stay, and whatever is not understood. kDamaged where a backup's details
// cannot be read.
WalRemoval wal_to_remove(const repository::Context& context, const WalRetention& retention);

}  // namespace holdfast::postgres
