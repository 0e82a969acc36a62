// Which backup, which timeline, which WAL: all that a restore decides before it writes a byte.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "postgres/backup_details.h"
#include "postgres/wal_archive.h"

namespace holdfast::postgres {

struct RestoreTarget {
  enum class Kind { kEndOfWal, kEndOfBackup, kTime, kLsn, kXid, kName };
  Kind kind = Kind::kEndOfWal;
  base::Time time = {};
  Lsn lsn = 0;
  std::string text = {};                   // the xid or the restore point's name
  std::optional<std::string> backup = {};  // an id; fixed by the user
  std::string timeline = "latest";         // "latest", "current" (the backup's own) or a number
  std::string action = "promote";          // "promote", "pause", "shutdown"
};

struct RestorePlan {
  repository::BackupRecord record;
  BackupDetails details;
  RestoreTarget target;
  std::uint32_t target_timeline = 0;
  std::vector<SegmentName> backup_wal;                        // start to stop: put into pg_wal
  std::vector<std::string> history_files;                     // put into pg_wal
  std::vector<std::pair<std::string, std::string>> settings;  // recovery_target_… for the server
  std::vector<std::string> notes;                             // what the user should know
};

// kNotFound (exit 4) for a moment outside of the recovery window, naming the window; kDamaged,
// naming each missing segment and history file, where WAL that is needed is not in the repository;
// kUsage for a target that makes no sense.
RestorePlan plan_restore(const repository::Context& context, const std::string& component,
                         const RestoreTarget& target);

// The log objects that a backup needs to be consistent, for verify.
std::vector<std::string> wal_objects_of(const repository::BackupSummary& summary);

}  // namespace holdfast::postgres
