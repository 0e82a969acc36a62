// The files of a data directory that belong into a backup, and what each of them is.
// The exclusions are those of PostgreSQL's own base backup (backup/basebackup.c; "Making a Base
// Backup Using the Low Level API" in its manual).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "postgres/cluster.h"
#include "repository/file_table.h"

namespace holdfast::postgres {

// A file of a relation: base/5/16384_fsm.3.
struct RelationFile {
  std::uint64_t number = 0;  // the relfilenode
  std::string_view fork;     // "main", "fsm", "vm", "init"
  std::uint32_t segment = 0;
};

// Nullopt for anything that is no relation file of a database (by its bare name).
std::optional<RelationFile> parse_relation_file(std::string_view file_name);
// "t3_16384": belongs to a session and is gone after a restart.
bool is_temporary_relation(std::string_view file_name);

struct ClusterFile {
  std::string path;              // relative to the data directory; tablespaces as pg_tblspc/OID/…
  std::filesystem::path source;  // where to read it
  repository::FileType type = repository::FileType::kFile;
  std::uint64_t size_bytes = 0;
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  base::Time modified;
  std::string link_target;        // tablespaces: their location
  bool is_relation = false;       // made of pages
  std::uint32_t first_block = 0;  // of the relation fork, where is_relation
};

struct ClusterListing {
  std::vector<ClusterFile> files;  // sorted by path; global/pg_control is not among them
  std::vector<std::string> notes;  // what was left out and is not a matter of course
};

// What vanishes while it is listed is left out: the server dropped it, and its WAL says so.
ClusterListing list_cluster_files(const ClusterInfo& cluster);

// One file as it is now; nullopt if it is not there.
std::optional<ClusterFile> stat_cluster_file(const ClusterInfo& cluster, const std::string& path);

}  // namespace holdfast::postgres
