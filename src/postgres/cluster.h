// What a running cluster says of itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "postgres/connection.h"
#include "postgres/wal_name.h"

namespace holdfast::postgres {

struct Tablespace {
  std::uint32_t oid = 0;
  std::string name;
  std::string location;  // absolute
};

struct ClusterInfo {
  int version_num = 0;  // 150018
  std::string version;  // "15.18"
  std::uint64_t system_id = 0;
  std::uint32_t timeline = 0;
  bool in_recovery = false;
  std::uint32_t block_size = 8192;
  std::uint32_t wal_segment_size = 16 * 1024 * 1024;
  std::uint32_t segment_blocks = 131072;  // blocks in a relation segment file
  bool checksums = false;
  std::string data_directory;
  std::string config_file;
  std::string hba_file;
  std::string ident_file;
  std::string wal_level;
  std::string archive_mode;
  std::string archive_command;
  std::string archive_library;  // PostgreSQL 15 and later
  std::vector<Tablespace> tablespaces;
  std::vector<std::pair<std::uint32_t, std::string>> databases;  // oid, name

  int major() const { return version_num / 10000; }
};

inline constexpr int kOldestMajor = 13;
inline constexpr int kNewestMajor = 18;

// kRefused for a server older than 13; needs the rights of a superuser or of pg_read_all_settings
// and pg_monitor.
ClusterInfo describe_cluster(Connection& connection);

}  // namespace holdfast::postgres
