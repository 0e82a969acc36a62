// pg_backup_start() and pg_backup_stop(): one session, held open in between.
#pragma once

#include <string>

#include "base/time.h"
#include "postgres/cluster.h"
#include "postgres/connection.h"

namespace holdfast::postgres {

struct BackupStart {
  Lsn lsn = 0;
  std::uint32_t timeline = 0;
};

struct BackupStop {
  Lsn lsn = 0;
  std::string backup_label;  // the file's content
  base::Time time;           // the server's clock
};

// From here on the server removes no WAL until the session ends (a temporary replication slot, as
// pg_basebackup has one). Throws what the server says where the user may not, or no slot is free.
void hold_wal(Connection& connection);

// Asks for a fast checkpoint and starts the backup. If the session ends before stop_backup(), the
// server ends the backup by itself.
BackupStart start_backup(Connection& connection, const std::string& label);
// Writes the end of the backup into the WAL and switches to a new segment; does not wait for
// archiving.
BackupStop stop_backup(Connection& connection);

}  // namespace holdfast::postgres
