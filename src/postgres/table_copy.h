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
  std::string into;                           // conninfo of the target
  std::vector<std::string> environment = {};  // for it: libpq's variables, "NAME=value"
  bool replace = false;
};

// pg_dump's script goes through psql in one transaction, which is committed only after pg_dump has
// succeeded: a failure, or a kill of anything, leaves the target as it was. kFailed with psql's own
// words; kRefused where what is to be replaced cannot be dropped.
void copy_tables(const TableSet& tables, TableTarget& target, const TableCopyRequest& request,
                 base::Progress& progress, const std::stop_token& stop);

// What psql runs before and after pg_dump's script. Apart for the tests.
std::string script_before(const TableSet& tables, const std::vector<std::string>& new_schemas);
struct FinishingTouches {
  std::vector<std::string> statistics = {};  // commands that make them
  std::vector<TableName> replaced = {};
  std::vector<std::string> moves = {};    // commands
  std::vector<std::string> staging = {};  // schemas, empty by then
  std::vector<ForeignKey> foreign_keys = {};
  std::vector<TableName> expected = {};  // must be there in the end
};
std::string script_after(const FinishingTouches& touches);

}  // namespace holdfast::postgres
