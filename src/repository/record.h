// Records of backups, and the catalog of them. A backup exists when its record does.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "repository/index.h"

namespace holdfast::repository {

// What every kind of component has in common; `details` is the component's own JSON object (for
// PostgreSQL: version, system_id, timeline, LSNs, …), kept as text here because this folder does
// not look into it.
struct BackupSummary {
  std::string id;  // COMPONENT-YYYYMMDDThhmmssZ
  std::string component;
  std::string type;      // "postgresql", …
  std::string kind;      // "full" or "incremental"
  std::string job;       // empty: none
  std::string previous;  // the record before this one, empty: none
  base::Time started;
  base::Time finished;
  std::uint64_t bytes = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_stored = 0;
  std::uint64_t files = 0;
  std::vector<std::string> warnings;
  std::string details_key;   // "postgresql"; empty: none
  std::string details_json;  // an object
};

struct BackupRecord {
  BackupSummary summary;
  std::vector<ChunkId> file_table;
  std::vector<IndexId> indexes;  // the index objects that this backup's run put
};

// COMPONENT-YYYYMMDDThhmmssZ.
std::string make_backup_id(std::string_view component, base::Time started);
// False for anything that make_backup_id would not give; component names are [a-z0-9][a-z0-9_.-]*.
bool is_backup_id(std::string_view id);
std::string record_name(std::string_view backup_id);        // backups/COMPONENT/ID
std::string_view component_of(std::string_view backup_id);  // of one that is_backup_id

base::Bytes encode_record(const BackupRecord& record);
BackupRecord decode_record(base::ByteView body);

// kExists: the id is taken; nothing was written.
storage::PutResult put_record(const Context& context, const BackupRecord& record);
BackupRecord get_record(const Context& context, std::string_view backup_id);  // kNotFound, kDamaged

struct Catalog {
  std::vector<BackupSummary> backups;   // oldest first, by (started, id)
  std::vector<Index::Problem> damaged;  // records that could not be read
};
// All records, or those of one component.
Catalog list_backups(const Context& context, std::string_view component = {});

// The newest one that can be read; nullopt where there is none.
std::optional<BackupRecord> newest_backup(const Context& context, std::string_view component);

// "latest" (the newest), an id, a component's name (its newest), or a unique prefix of an id;
// kNotFound, or kUsage where it is not unique. `component` empty: any.
std::string resolve_backup(const Context& context, std::string_view text,
                           std::string_view component = {});

// The JSON of list and of the record: see docs/interface of BACKUP. `verified` from the reports.
nlohmann::json to_json(const BackupSummary& summary);

}  // namespace holdfast::repository
