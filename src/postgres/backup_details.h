// The "postgresql" object of a record: what a restore must know of the cluster and of the backup.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "postgres/cluster.h"
#include "repository/record.h"

namespace holdfast::postgres {

// A page of a file of the cluster; at the beginning: the first of all.
struct AuditPlace {
  std::string path;
  std::uint32_t page = 0;
};

struct BackupDetails {
  int version_num = 0;
  std::string version;
  std::uint64_t system_id = 0;
  std::uint32_t timeline = 0;  // of start and stop: a primary's does not change in between
  Lsn start_lsn = 0;           // redo begins here
  Lsn stop_lsn = 0;            // consistent from here on
  base::Time stop_time;        // the server's clock
  std::uint32_t block_size = 8192;
  std::uint32_t wal_segment_size = 16 * 1024 * 1024;
  bool checksums = false;
  std::string data_directory;
  std::string config_file;
  std::vector<Tablespace> tablespaces;
  std::vector<std::pair<std::uint32_t, std::string>> databases;
  std::vector<std::string> bad_pages;  // "base/5/16384 block 12 (relation …)"
  // Of an incremental backup: how it knew what changed, and of its audit.
  std::string method;      // "change maps" or "page LSNs"; empty: every file was stored whole
  std::string why_method;  // why not a cheaper one, a sentence; empty: it is the cheapest
  // Pages of it come from before a change of timelines: from another physical copy, it may be.
  bool other_copy = false;
  std::uint64_t audited_pages = 0;
  std::uint64_t unjudged_pages =
      0;                  // that differ, and a credential that only writes cannot tell how
  AuditPlace audit_next;  // where the next one goes on
  std::vector<std::string> audit_differences;  // pages, as in bad_pages

  // Nothing in it is known to be wrong.
  bool is_good() const { return bad_pages.empty() && audit_differences.empty(); }
};

std::string details_to_json(const BackupDetails& details);
// kDamaged for what details_to_json would not give.
BackupDetails details_of(const repository::BackupSummary& summary);

}  // namespace holdfast::postgres
