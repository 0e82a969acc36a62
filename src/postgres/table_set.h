// The tables that are taken out of a private server, with what belongs to them, made ready there
// for pg_dump: since nobody else works in that server, they get their new names in it, and nothing
// of the target is locked for that.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "postgres/connection.h"
#include "postgres/table_name.h"
#include "postgres/table_target.h"

namespace holdfast::postgres {

// What happens where the target has a table of the name.
struct NewNames {
  std::optional<std::string> suffix;  // everything gets it
  // Everything is put into schemas that begin with this, and moved to its own at the end.
  std::optional<std::string> staging;
};

struct TakenTable {
  TableName source;
  TableName target;
  std::uint64_t rows = 0;  // with those of its partitions
  bool asked_for = false;  // else a partition or child of one that was
};

// Not thread-safe. find(), then fit(), then rename().
class TableSet {
 public:
  TableSet(const std::string& conninfo, NewNames names, const std::stop_token& stop);

  // Looks for the tables, and adds their partitions and children. kNotFound, naming what is near;
  // kRefused for what is no table, and for unlogged ones, which come out of recovery empty, unless
  // `with_unlogged`.
  void find(const std::vector<TableName>& asked, bool with_unlogged);
  // Leaves out, with a note, what the target has no use for: foreign keys to tables and triggers
  // with functions that it lacks. kRefused where it lacks a type.
  void fit(TableTarget& target);
  void count_rows();
  void rename();

  const std::vector<TakenTable>& tables() const { return tables_; }
  std::vector<TableName> source_names() const;
  std::vector<TableName> target_names() const;
  std::vector<TableName> dumped() const;     // as they are called here after rename()
  std::vector<std::string> schemas() const;  // of the target that they need
  std::vector<TableName> asked_for() const;  // their names in the target
  // The temporary ones of the target, each with where its content belongs.
  const std::vector<std::pair<std::string, std::string>>& staging() const { return staging_; }
  // Commands that put it there.
  const std::vector<std::string>& moves() const { return moves_; }
  // Commands that make their statistics objects.
  const std::vector<std::string>& statistics() const { return statistics_; }
  const std::vector<std::string>& dump_options() const { return dump_options_; }
  const std::vector<std::string>& notes() const { return notes_; }
  const std::vector<std::string>& warnings() const { return warnings_; }  // what is left out

 private:
  std::vector<std::string> column(const std::string& sql);
  void require_independent();
  std::vector<std::string> near(const TableName& name);
  void leave_parents();
  void leave_out_foreign_keys(TableTarget& target);
  void leave_out_triggers(TableTarget& target);
  void require_types(TableTarget& target);
  void settle_owners(TableTarget& target);
  void take_sequences(TableTarget& target);
  void add_suffix(const std::string& suffix);
  void make_way(const TableName& name);
  void move_to_staging(const std::string& prefix);

  NewNames names_;
  Connection connection_;
  std::vector<TakenTable> tables_;
  std::string oids_;                  // of the tables, as text[] of SQL: "{16384,16390}"
  std::vector<TableName> sequences_;  // that the tables use and do not own
  std::vector<std::pair<std::string, std::string>> staging_;
  std::vector<std::string> moves_;
  std::vector<std::string> statistics_;
  std::vector<std::string> dump_options_;
  std::vector<std::string> notes_;
  std::vector<std::string> warnings_;
};

}  // namespace holdfast::postgres
