// Takes tables from the private server to the target, all of them or none.
#pragma once

#include <stop_token>
#include <string>

#include "base/progress.h"
#include "postgres/table_set.h"

namespace holdfast::postgres {

struct TableCopyRequest {
  std::string source;  // conninfo of the private server's database
  int source_major = 0;
  std::string into;  // conninfo of the target
  bool replace = false;
};

// pg_dump's script goes through psql in one transaction, which is committed only after pg_dump has
// succeeded: a failure, or a kill of anything, leaves the target as it was. kFailed with psql's own
// words; kRefused where what is to be replaced cannot be dropped.
void copy_tables(const TableSet& tables, TableTarget& target, const TableCopyRequest& request,
                 base::Progress& progress, const std::stop_token& stop);

// What psql runs before and after pg_dump's script. Apart for the tests.
std::string script_before(const TableSet& tables, const std::vector<std::string>& new_schemas);
std::string script_after(const std::vector<std::string>& statistics,
                         const std::vector<std::pair<std::string, std::string>>& staging,
                         const std::vector<TableName>& replaced,
                         const std::vector<ForeignKey>& foreign_keys);

}  // namespace holdfast::postgres
