// backup_label: from where a restored data directory must replay. PostgreSQL writes it in
// pg_backup_stop() and reads it at the first start.
// Facts: PostgreSQL's build_backup_content() in access/transam/xlogbackup.c.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "postgres/wal_name.h"

namespace holdfast::postgres {

struct BackupLabel {
  Lsn start = 0;               // START WAL LOCATION: replay begins here
  std::string start_file;      // the segment that holds it
  Lsn checkpoint = 0;          // CHECKPOINT LOCATION
  std::uint32_t timeline = 0;  // START TIMELINE
  std::string label;           // LABEL
  bool from_standby = false;   // BACKUP FROM
};

// Throws kFailed where a line that must be there is missing or is malformed.
BackupLabel parse_backup_label(std::string_view text);

}  // namespace holdfast::postgres
