// To which moments a component can be brought back.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "postgres/replay_path.h"

namespace holdfast::postgres {

struct RecoveryWindow {
  std::optional<base::Time> from;  // none: there is no backup
  std::optional<base::Time> to;
  bool continuous = false;  // false: only the ends of the backups
};

// The end of the WAL that follows without a gap.
struct WalEnd {
  base::Time time;                        // when the last segment was written last
  std::optional<base::Time> last_commit;  // of the last transaction that ended in it
  Lsn last_record = 0;                    // start of the last record
};
// Looks back from the end of the path for the last transaction. Nullopt where the path is empty.
std::optional<WalEnd> end_of_wal(const repository::Context& context, std::uint64_t system_id,
                                 const ReplayPath& path, std::uint32_t segment_size);

// From the end of the oldest backup from which the archived WAL runs without a gap to the end of
// the WAL behind the newest backup. `backups` are of one component, oldest first; those of another
// system identifier than the last one's are left out.
RecoveryWindow recovery_window(const repository::Context& context,
                               const std::vector<repository::BackupSummary>& backups);

// "2024-01-17T12:00:00Z to 2024-01-18T09:30:00Z", for messages.
std::string describe(const RecoveryWindow& window);

}  // namespace holdfast::postgres
