// The "dump" object of a record: what stands in a logical dump; and how dumps are named.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "repository/record.h"

namespace holdfast::postgres {

inline constexpr std::string_view kDumpType = "dump";

enum class DumpFormat { kCustom, kPlain, kDirectory };
DumpFormat parse_dump_format(std::string_view name);  // kUsage for all but the three
std::string_view name_of(DumpFormat format);

struct DumpDetails {
  std::string database;
  DumpFormat format = DumpFormat::kCustom;
  std::vector<std::string> tables;  // pg_dump's patterns; none: the whole database
  int version_num = 0;              // of the server: 150018
  std::string server_version;
  std::string pg_dump_version;
  // It shows the database as of one moment in between, by the server's clock: what was committed
  // before the first is in it, what was committed after the second is not.
  base::Time snapshot_from;
  base::Time snapshot_to;
  std::string path;                // of the dump in the backup: a file, or the format's directory
  bool globals = false;            // roles and tablespaces are there too, in kGlobalsFile
  std::vector<std::string> notes;  // what pg_dump had to say
  bool whole_next = false;         // the next dump is to refer to no ranges of this one
};

inline constexpr std::string_view kGlobalsFile = "globals.sql";

std::string details_to_json(const DumpDetails& details);
// kDamaged where the record is of another type or the object is not right.
DumpDetails dump_details_of(const repository::BackupSummary& summary);

// COMPONENT.DATABASE. A name that could stand in no id is made one that can, with a hash in it.
std::string dump_component(std::string_view component, std::string_view database);
// DumpDetails::path.
std::string dump_path(std::string_view database, DumpFormat format);

}  // namespace holdfast::postgres
