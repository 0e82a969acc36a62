// A backup of a running cluster whose data directory can be read here.
#pragma once

#include <stop_token>
#include <string>

#include "base/progress.h"
#include "repository/record.h"
#include "repository/repository.h"

namespace holdfast::postgres {

struct BackupRequest {
  std::string component;
  std::string connection;     // libpq conninfo
  std::string job;            // empty: none
  bool incremental = false;   // where there is something to build on; else full
  double audit_share = 0.02;  // of what an incremental backup takes for unchanged: 0 to 1
  int workers = 2;
  std::uint64_t rate_bytes = 0;  // a second, read from the data directory; 0: no limit
  // The server's own archiving goes to another repository: WAL that this backup needs must not be
  // removed before it is here.
  bool hold_wal = false;
  bool accept_new_system = false;  // the component was another cluster (system identifier) before
};

// pg_backup_start, files in parallel, pg_control, pg_backup_stop, WAL; then the index, then the
// record: the backup exists when this returns and not before. Where an incremental one was asked
// for and a full one was taken, a note says why. Takes the component's lock (kLocked).
// summary.warnings names what the user must look at (pages whose checksum is wrong, archiving off).
// Order and exclusions: PostgreSQL's documentation, "Making a Base Backup Using the Low Level API".
repository::BackupSummary take_backup(const repository::Context& context,
                                      const BackupRequest& request, base::Progress& progress,
                                      std::stop_token stop);

}  // namespace holdfast::postgres
