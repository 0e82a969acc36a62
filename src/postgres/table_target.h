// The database that tables are put into: what it has, and what stands in the way.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "postgres/connection.h"
#include "postgres/table_name.h"

namespace holdfast::postgres {

// "{"a","b"}", for parameters of type text[].
std::string array_literal(const std::vector<std::string>& values);

// A foreign key of a table that stays, which leads to one that is replaced.
struct ForeignKey {
  std::string table;  // quoted where SQL needs it
  std::string name;   // the same
  std::string definition;
  std::string comment = {};  // empty: none
  bool is_disabled = false;  // by DISABLE TRIGGER: made anew it is not
};

// Not thread-safe. Reads only: what is written to the target goes through psql.
class TableTarget {
 public:
  // kUnavailable; kRefused where it cannot be written to.
  TableTarget(const std::string& conninfo, const std::stop_token& stop);

  int major() const { return connection_.server_version_num() / 10000; }
  const std::string& database() const { return database_; }

  bool exists(const TableName& name);
  // Of these, what the database has.
  std::vector<TableName> existing(const std::vector<TableName>& names);
  // kRefused, naming them, if any of these exists.
  void require_free(const std::vector<TableName>& names);
  // kRefused where one of them exists and cannot be dropped without taking something along: what
  // depends on it is named. Foreign keys are no hindrance. `taken`: those that are to be put there,
  // with partitions and children; empty: not known yet. What would go must be among them, and be
  // asked for or a part of what is.
  void require_replaceable(const std::vector<TableName>& asked,
                           const std::vector<TableName>& taken = {});
  // Replacing goes through schemas of our own. kRefused where this user may make none.
  void require_schemas_can_be_made();
  std::vector<ForeignKey> foreign_keys_to(const std::vector<TableName>& names);
  // Publications in which one of them is: dropping it takes it out.
  std::vector<std::string> publications_of(const std::vector<TableName>& names);

  // Of these, what it lacks.
  std::vector<std::string> missing_schemas(const std::vector<std::string>& names);
  std::vector<std::string> missing_roles(const std::vector<std::string>& names);
  std::vector<std::string> missing_tablespaces(const std::vector<std::string>& names);
  std::vector<std::string> missing_types(const std::vector<std::string>& sql_names);
  std::vector<std::string> missing_functions(const std::vector<std::string>& sql_names);
  // Of roles that are there: those to whom this user may not give anything.
  std::vector<std::string> roles_out_of_reach(const std::vector<std::string>& names);

 private:
  void require_nothing_else_goes(const std::vector<TableName>& asked,
                                 const std::vector<TableName>& taken);
  void refuse_if(const std::vector<Row>& rows, const char* what, const char* hint);
  std::vector<std::string> filter(const std::string& condition,
                                  const std::vector<std::string>& values);

  Connection connection_;
  std::string database_;
};

}  // namespace holdfast::postgres
