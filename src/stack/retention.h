// Which backups stay and which go: a function of what is there, what the configuration says, and
// the time. The rules, and why they are so: docs/retention.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "repository/record.h"
#include "stack/config.h"

namespace holdfast::stack {

struct BackupInQuestion {
  repository::BackupSummary summary;
  base::Time stored;     // when its record was put, by the storage's clock
  bool good = true;      // nothing in it is known to be wrong
  std::string system{};  // what it is a backup of, by itself: PostgreSQL's system identifier

  // Not before either clock says so: one that is wrong by a day or two can only keep it for longer.
  // Where they are further apart the repository was copied, and its objects have new times.
  base::Time ended() const;
};

struct BackupFate {
  bool keep = true;
  std::string why;                  // for people
  std::optional<base::Time> until;  // when its job keeps it no longer; none: for ever
};

// One for each of `backups`, which are of any components, in any order.
std::vector<BackupFate> decide_on_backups(const std::vector<BackupInQuestion>& backups,
                                          const std::vector<JobConfig>& jobs, base::Time now);

}  // namespace holdfast::stack
