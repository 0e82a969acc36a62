// What changed in a cluster from one backup to the next: the change maps of the WAL between them,
// joined along the path that its timelines took.
#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>

#include "postgres/change_map.h"
#include "postgres/wal_name.h"
#include "repository/repository.h"

namespace holdfast::postgres {

struct WalStretch {
  std::uint64_t system_id = 0;
  std::uint32_t from_timeline = 0;
  Lsn from = 0;           // start_lsn of the backup before
  Lsn previous_stop = 0;  // its stop_lsn
  std::uint32_t to_timeline = 0;
  Lsn to = 0;  // start_lsn of this backup
  std::uint32_t segment_size = 0;
  std::filesystem::path data_directory;
};

struct Changes {
  ChangeMap map;    // empty where there is a gap
  std::string gap;  // empty: the map covers the whole stretch; else a sentence that says why not
  // The backup before is not on the way to where the cluster is now, or that cannot be told:
  // nothing can be built on it. Then there is a gap too.
  bool diverged = false;
  std::uint64_t segments = 0;
};

// From the maps in the repository, and where a segment has none (yet) from its file in pg_wal. The
// last segments, which the server has not finished or not archived, are always read there.
Changes changes_between(const repository::Context& context, const WalStretch& stretch, int threads,
                        std::stop_token stop);

}  // namespace holdfast::postgres
