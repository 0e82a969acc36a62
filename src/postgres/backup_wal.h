// The WAL that a backup needs to be consistent: without it in the repository there is no backup.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "postgres/cluster.h"
#include "postgres/wal_archive.h"

namespace holdfast::postgres {

struct BackupWal {
  const ClusterInfo& cluster;
  std::uint32_t timeline = 0;
  Lsn start = 0;
  Lsn stop = 0;
};

// The segments that hold the bytes from `start` up to `stop`.
std::vector<SegmentName> segments_between(std::uint32_t timeline, Lsn start, Lsn stop,
                                          std::uint32_t segment_size);

// Sees to it that every segment (and the timeline's history) is in the repository. What the
// server's own archiving has not brought yet is archived from pg_wal here: pg_backup_stop() has
// closed the last segment, so all of them are complete, and archiving one twice is harmless.
// kFailed, naming the first segment that is neither in the repository nor in pg_wal.
void complete_wal(const repository::Context& context, const BackupWal& wal, int threads,
                  std::stop_token stop);

// What the user should know of the server's archiving after a backup; empty if all is well.
std::vector<std::string> archiving_warnings(Connection& connection, const ClusterInfo& cluster);

}  // namespace holdfast::postgres
