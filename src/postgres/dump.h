// A logical dump of one database, by PostgreSQL's own pg_dump.
#pragma once

#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "postgres/dump_details.h"
#include "repository/record.h"
#include "repository/repository.h"

namespace holdfast::postgres {

struct DumpRequest {
  std::string component;   // of the cluster
  std::string connection;  // libpq conninfo
  std::string database;
  DumpFormat format = DumpFormat::kCustom;
  std::vector<std::string> tables = {};  // pg_dump's patterns; none: the whole database
  int parallel = 1;                      // connections, of the directory format
  std::string job = {};                  // empty: none
  std::filesystem::path scratch = {};    // the directory format is written there first
  std::filesystem::path programs = {};   // where pg_dump is; empty: found (client_program.h)
};

// Uncompressed, so that what did not change since the last dump is stored once. The backup exists
// when this returns, and only if pg_dump succeeded and its result is whole: pg_restore has read all
// of it, or (plain) it ends as pg_dump's scripts do. Roles and tablespaces stand beside it. The
// server may be remote or a standby. Takes the lock of the dump's component (kLocked).
repository::BackupSummary take_dump(const repository::Context& context, const DumpRequest& request,
                                    base::Progress& progress, std::stop_token stop);

}  // namespace holdfast::postgres
