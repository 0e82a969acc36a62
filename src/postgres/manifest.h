// PostgreSQL's own backup_manifest, so that pg_verifybackup can judge what was restored.
// Format: "Backup Manifest Format" in PostgreSQL's manual.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"
#include "postgres/wal_name.h"

namespace holdfast::postgres {

struct ManifestFile {
  std::string path;  // relative to the data directory; tablespaces as pg_tblspc/OID/…
  std::uint64_t size_bytes = 0;
  base::Time modified{};
  std::uint32_t crc = 0;  // CRC-32C of the whole file
};

// WAL that the restored cluster needs to become consistent.
struct ManifestWalRange {
  std::uint32_t timeline = 1;
  Lsn start = 0;
  Lsn end = 0;
};

// The whole file, ready to be written. Version 1 before PostgreSQL 17, version 2 from there.
std::string make_backup_manifest(int server_version_major, std::uint64_t system_id,
                                 const std::vector<ManifestFile>& files,
                                 const std::vector<ManifestWalRange>& wal_ranges);

}  // namespace holdfast::postgres
