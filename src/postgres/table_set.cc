#include "postgres/table_set.h"

#include <fmt/format.h>

#include <map>

#include "base/error.h"

namespace holdfast::postgres {
namespace {

using base::Error;
using base::ErrorKind;

// What has no name of its own choice but comes along with the tables: indexes and owned sequences.
std::string with_parts(const std::string& oids) {
  return fmt::format(
      "(SELECT unnest('{0}'::oid[]) UNION SELECT objid FROM pg_depend"
      " WHERE refclassid = 'pg_class'::regclass AND classid = 'pg_class'::regclass"
      " AND refobjid = ANY('{0}'::oid[]) AND deptype IN ('a', 'i'))",
      oids);
}

std::string listed(const std::vector<std::string>& names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

// Event triggers of the database, and settings of its roles, are not for this.
TableSet::TableSet(const std::string& conninfo, NewNames names, const std::stop_token& stop)
    : names_(std::move(names)), connection_(conninfo) {
  connection_.obey(stop);
  connection_.query("SELECT pg_catalog.set_config('search_path', '', false)");
  // Names are UTF8 here; without an encoding they are bytes, as rows are.
  if (connection_.value("SHOW server_encoding") != "SQL_ASCII") {
    dump_options_.push_back("--encoding=UTF8");
  }
  connection_.query("SET session_replication_role = replica");
  connection_.query("SET default_transaction_read_only = off");
  // Two-phase transactions that were open at the moment are no part of it; they hold locks.
  for (const std::string& name :
       column("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")) {
    connection_.query("ROLLBACK PREPARED " + quote_literal(name));
  }
  // Those that are to fire always do so for a replica too.
  for (const std::string& name :
       column("SELECT quote_ident(evtname) FROM pg_event_trigger WHERE evtenabled = 'A'")) {
    connection_.query(fmt::format("ALTER EVENT TRIGGER {} DISABLE", name));
  }
}

std::vector<std::string> TableSet::column(const std::string& sql) {
  std::vector<std::string> out;
  for (const Row& row : connection_.query(sql)) out.push_back(row[0].value_or(""));
  return out;
}

std::vector<std::string> TableSet::near(const TableName& name) {
  std::vector<std::string> found;
  for (const Row& row : connection_.query(
           "SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
           " WHERE relkind IN ('r', 'p') AND nspname !~ '^pg_' AND nspname <> 'information_schema'"
           " AND starts_with(lower(relname), left(lower($1), 3))"
           " ORDER BY lower(relname) <> lower($1), 1, 2 LIMIT 5",
           {name.table})) {
    found.push_back(shown_name({row[0].value(), row[1].value()}));
  }
  return found;
}

void TableSet::find(const std::vector<TableName>& asked, bool with_unlogged) {
  std::vector<std::string> names;
  std::vector<std::string> missing;
  std::vector<std::string> others;
  for (const TableName& name : asked) {
    names.push_back(sql_name(name));
    if (!connection_.query("SELECT WHERE to_regclass($1) IS NOT NULL", {names.back()}).empty()) {
      continue;
    }
    missing.push_back(shown_name(name));
    for (std::string& other : near(name)) others.push_back(std::move(other));
  }
  if (!missing.empty()) {
    throw Error(ErrorKind::kNotFound,
                fmt::format("there was no table {} at that moment", listed(missing)),
                fmt::format("{}--only names another database",
                            others.empty() ? "" : "near it there are " + listed(others) + "; "));
  }
  const std::vector<Row> rows = connection_.query(
      "WITH RECURSIVE taken(oid, asked) AS ("
      "  SELECT to_regclass(name)::oid, true FROM unnest($1::text[]) AS name"
      "  UNION SELECT inhrelid, false FROM pg_inherits JOIN taken ON inhparent = taken.oid)"
      "SELECT c.oid, nspname, relname, bool_or(asked), c.relkind,"
      " c.relpersistence, pg_describe_object('pg_class'::regclass, c.oid, 0) FROM taken JOIN "
      "pg_class c USING (oid)"
      " JOIN pg_namespace n ON n.oid = relnamespace GROUP BY c.oid, nspname, relname"
      " ORDER BY 4 DESC, 2, 3",
      {array_literal(names)});
  oids_ = "{";
  for (const Row& row : rows) {
    if (row[4] != "r" && row[4] != "p") {
      throw Error(ErrorKind::kRefused,
                  fmt::format("only tables are brought back, not a {}", row[6].value()),
                  "'holdfast restore' without --table brings the whole cluster back");
    }
    if (row[5] == "u" && !with_unlogged) {
      throw Error(ErrorKind::kRefused,
                  fmt::format("a backup has no rows of an unlogged table, such as {}",
                              shown_name({row[1].value(), row[2].value()})),
                  "a logical dump has them: name one with --backup");
    }
    TakenTable table;
    table.source = table.target = {row[1].value(), row[2].value()};
    if (names_.suffix) table.target.table = with_suffix(table.source.table, *names_.suffix);
    table.asked_for = row[3] == "t";
    tables_.push_back(table);
    oids_ += (oids_.size() > 1 ? "," : "") + row[0].value();
  }
  oids_ += "}";
  require_independent();
}

// pg_dump leaves out what an extension makes.
void TableSet::require_independent() {
  const std::vector<std::string> found = column(fmt::format(
      "SELECT format('%s (of the extension %I)', objid::regclass, extname) FROM pg_depend"
      " JOIN pg_extension e ON e.oid = refobjid AND refclassid = 'pg_extension'::regclass"
      " WHERE classid = 'pg_class'::regclass AND deptype = 'e' AND objid = ANY('{}'::oid[])",
      oids_));
  if (found.empty()) return;
  throw Error(
      ErrorKind::kRefused,
      fmt::format("what belongs to an extension is not brought back alone: {}", listed(found)),
      "CREATE EXTENSION makes the table; 'holdfast restore' without --table brings the "
      "whole cluster back, with its rows");
}

void TableSet::fit(TableTarget& target) {
  require_types(target);
  connection_.query("BEGIN");
  leave_parents();
  leave_out_foreign_keys(target);
  leave_out_triggers(target);
  connection_.query("COMMIT");
  settle_owners(target);
  take_sequences(target);
}

void TableSet::require_types(TableTarget& target) {
  const std::vector<std::string> missing = target.missing_types(column(fmt::format(
      "SELECT DISTINCT format('%I.%I', n.nspname, t.typname) FROM pg_attribute a"
      " JOIN pg_type ct ON ct.oid = a.atttypid JOIN pg_type t ON t.oid ="
      "   CASE WHEN ct.typcategory = 'A' AND ct.typelem <> 0 THEN ct.typelem ELSE ct.oid END"
      " JOIN pg_namespace n ON n.oid = t.typnamespace"
      " WHERE a.attrelid = ANY('{0}'::oid[]) AND a.attnum > 0 AND NOT a.attisdropped"
      " AND n.nspname <> 'pg_catalog' AND t.typrelid <> ALL('{0}'::oid[])",
      oids_)));
  if (missing.empty()) return;
  throw Error(ErrorKind::kRefused,
              fmt::format("the target database {} lacks types that the tables need: {}",
                          target.database(), listed(missing)),
              "create them there first (their extension, or CREATE TYPE)");
}

// A partition, or a child, of which the parent stays where it is becomes a table of its own.
void TableSet::leave_parents() {
  for (const Row& row : connection_.query(fmt::format(
           "SELECT inhparent::regclass, inhrelid::regclass, relispartition FROM pg_inherits"
           " JOIN pg_class c ON c.oid = inhrelid WHERE inhrelid = ANY('{0}'::oid[])"
           " AND inhparent <> ALL('{0}'::oid[])",
           oids_))) {
    const std::string parent = row[0].value();
    const std::string child = row[1].value();
    connection_.query(row[2] == "t"
                          ? fmt::format("ALTER TABLE {} DETACH PARTITION {}", parent, child)
                          : fmt::format("ALTER TABLE {} NO INHERIT {}", child, parent));
    notes_.push_back(
        fmt::format("{} was a part of {}; it comes as a table of its own", child, parent));
  }
}

void TableSet::leave_out_foreign_keys(TableTarget& target) {
  for (const Row& row : connection_.query(fmt::format(
           "SELECT conrelid::regclass, quote_ident(conname), nspname, relname FROM pg_constraint c"
           " JOIN pg_class r ON r.oid = confrelid JOIN pg_namespace n ON n.oid = relnamespace"
           " WHERE contype = 'f' AND conparentid = 0 AND conrelid = ANY('{0}'::oid[])"
           " AND confrelid <> ALL('{0}'::oid[])",
           oids_))) {
    const TableName referenced = {row[2].value(), row[3].value()};
    if (target.exists(referenced)) continue;
    connection_.query(
        fmt::format("ALTER TABLE {} DROP CONSTRAINT {}", row[0].value(), row[1].value()));
    warnings_.push_back(fmt::format("the foreign key {} of {} is left out: the target has no {}",
                                    row[1].value(), row[0].value(), shown_name(referenced)));
  }
}

void TableSet::leave_out_triggers(TableTarget& target) {
  std::vector<std::string> functions;
  const std::vector<Row> rows = connection_.query(fmt::format(
      "SELECT tgrelid::regclass, quote_ident(tgname), format('%I.%I()', nspname, proname)"
      " FROM pg_trigger t JOIN pg_proc p ON p.oid = tgfoid"
      " JOIN pg_namespace n ON n.oid = pronamespace"
      " WHERE NOT tgisinternal AND tgparentid = 0 AND tgrelid = ANY('{}'::oid[])",
      oids_));
  for (const Row& row : rows) functions.push_back(row[2].value());
  const std::vector<std::string> missing = target.missing_functions(functions);
  for (const Row& row : rows) {
    const bool lacks = std::find(missing.begin(), missing.end(), row[2].value()) != missing.end();
    if (!lacks) continue;
    connection_.query(fmt::format("DROP TRIGGER {} ON {}", row[1].value(), row[0].value()));
    warnings_.push_back(fmt::format("the trigger {} of {} is left out: the target has no {}",
                                    row[1].value(), row[0].value(), row[2].value()));
  }
}

void TableSet::settle_owners(TableTarget& target) {
  const std::string parts = with_parts(oids_);
  const std::vector<std::string> owners = column(fmt::format(
      "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE oid IN {}", parts));
  const std::vector<std::string> others = column(fmt::format(
      "SELECT pg_get_userbyid(role) FROM pg_class c, aclexplode(relacl) a,"
      " unnest(ARRAY[a.grantee, a.grantor]) role WHERE role <> 0 AND c.oid IN {0} UNION "
      "SELECT pg_get_userbyid(role) FROM pg_attribute c, aclexplode(attacl) a,"
      " unnest(ARRAY[a.grantee, a.grantor]) role WHERE role <> 0 AND attrelid IN {0}",
      parts));
  std::vector<std::string> problems = target.missing_roles(owners);
  for (const std::string& name : target.missing_roles(others)) problems.push_back(name);
  for (const std::string& name : target.roles_out_of_reach(owners)) problems.push_back(name);
  if (!problems.empty()) {
    std::sort(problems.begin(), problems.end());
    problems.erase(std::unique(problems.begin(), problems.end()), problems.end());
    dump_options_.insert(dump_options_.end(), {"--no-owner", "--no-privileges"});
    warnings_.push_back(
        fmt::format("owners and rights are left out: in the target these roles are "
                    "not there, or not to be given anything: {}",
                    listed(problems)));
  }
  const std::vector<std::string> tablespaces = target.missing_tablespaces(
      column(fmt::format("SELECT DISTINCT spcname FROM pg_class c JOIN pg_tablespace t"
                         " ON t.oid = reltablespace WHERE c.oid IN {}",
                         parts)));
  if (!tablespaces.empty()) {
    dump_options_.push_back("--no-tablespaces");
    warnings_.push_back(fmt::format("all goes to the default tablespace: the target has no {}",
                                    listed(tablespaces)));
  }
}

// A sequence that the target has may be used by others there: it stays as it is.
void TableSet::take_sequences(TableTarget& target) {
  for (const Row& row : connection_.query(fmt::format(
           "SELECT DISTINCT nspname, s.relname FROM pg_depend d"
           " JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid"
           " JOIN pg_class s ON d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid"
           " JOIN pg_namespace n ON n.oid = s.relnamespace"
           " WHERE s.relkind = 'S' AND a.adrelid = ANY('{0}'::oid[]) AND s.oid NOT IN {1}",
           oids_, with_parts(oids_)))) {
    const TableName sequence = {row[0].value(), row[1].value()};
    if (target.exists(sequence)) {
      notes_.push_back(
          fmt::format("the sequence {} stays as it is in the target", shown_name(sequence)));
    } else {
      sequences_.push_back(sequence);
    }
  }
}

void TableSet::count_rows() {
  for (TakenTable& table : tables_) {
    if (!table.asked_for) continue;
    table.rows = std::stoull(
        connection_.value(fmt::format("SELECT count(*) FROM {}", sql_name(table.source))));
  }
}

void TableSet::rename() {
  connection_.query("BEGIN");
  if (names_.suffix) add_suffix(*names_.suffix);
  if (names_.staging) move_to_staging(*names_.staging);
  connection_.query("COMMIT");
  // pg_dump 15 leaves them out where only some tables are asked for; others may not.
  constexpr std::string_view kCreate = "CREATE STATISTICS ";
  for (const std::string& definition :
       column(fmt::format("SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext"
                          " WHERE stxrelid = ANY('{}'::oid[]) ORDER BY oid",
                          oids_))) {
    if (!definition.starts_with(kCreate)) continue;
    statistics_.push_back(
        fmt::format("{}IF NOT EXISTS {}", kCreate, definition.substr(kCreate.size())));
  }
}

// An index that stands for a constraint takes the constraint's name along; names of other
// constraints are their table's own business. The longest first: then none gets a name that one of
// the others still has.
void TableSet::add_suffix(const std::string& suffix) {
  for (const Row& row : connection_.query(fmt::format(
           "SELECT c.oid::regclass, nspname, relname FROM pg_class c"
           " JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = ANY('{0}'::oid[])"
           " OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = ANY('{0}'::oid[]))"
           " OR relkind = 'S' AND c.oid IN {1} ORDER BY octet_length(relname::text) DESC",
           oids_, with_parts(oids_)))) {
    const TableName name = {row[1].value(), with_suffix(row[2].value(), suffix)};
    make_way(name);
    connection_.query(
        fmt::format("ALTER TABLE {} RENAME TO {}", row[0].value(), quote_identifier(name.table)));
  }
  for (const Row& row : connection_.query(fmt::format(
           "SELECT nspname, stxname FROM pg_statistic_ext"
           " JOIN pg_namespace n ON n.oid = stxnamespace WHERE stxrelid = ANY('{}'::oid[])"
           " ORDER BY octet_length(stxname::text) DESC",
           oids_))) {
    const TableName name = {row[0].value(), row[1].value()};
    const TableName suffixed = {name.schema, with_suffix(name.table, suffix)};
    connection_.query("DROP STATISTICS IF EXISTS " + sql_name(suffixed));
    connection_.query(fmt::format("ALTER STATISTICS {} RENAME TO {}", sql_name(name),
                                  quote_identifier(suffixed.table)));
  }
}

// Whatever else has the name here gets another: it stays here, and the target has nothing of the
// name.
void TableSet::make_way(const TableName& name) {
  for (const Row& row : connection_.query(
           "SELECT CASE relkind WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END, c.oid"
           " FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
           " WHERE nspname = $1 AND relname = $2 UNION ALL "
           "SELECT 'TYPE', t.oid FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace"
           " WHERE nspname = $1 AND typname = $2 AND typrelid = 0 AND typelem = 0",
           {name.schema, name.table})) {
    connection_.query(fmt::format("ALTER {} {} RENAME TO holdfast_{}", row[0].value(),
                                  sql_name(name), row[1].value()));
  }
}

// Indexes, constraints and owned sequences go with their table.
void TableSet::move_to_staging(const std::string& prefix) {
  std::map<std::string, std::string> staging;
  for (const TakenTable& table : tables_) {
    const std::string& schema = table.source.schema;
    if (staging.contains(schema)) continue;
    const std::string name = fmt::format("{}_{}", prefix, staging.size() + 1);
    staging.emplace(schema, name);
    staging_.emplace_back(name, schema);
    connection_.query(fmt::format("CREATE SCHEMA {}", quote_identifier(name)));
  }
  const std::vector<Row> statistics = connection_.query(
      fmt::format("SELECT s.nspname, stxname, t.nspname FROM pg_statistic_ext"
                  " JOIN pg_namespace s ON s.oid = stxnamespace JOIN pg_class c ON c.oid = stxrelid"
                  " JOIN pg_namespace t ON t.oid = relnamespace WHERE stxrelid = ANY('{}'::oid[])",
                  oids_));
  const auto move = [&](const char* kind, const TableName& name, const std::string& schema) {
    const TableName staged = {staging.at(schema), name.table};
    connection_.query(fmt::format("ALTER {} {} SET SCHEMA {}", kind, sql_name(name),
                                  quote_identifier(staged.schema)));
    moves_.push_back(
        fmt::format("ALTER {} {} SET SCHEMA {}", kind, sql_name(staged), quote_identifier(schema)));
  };
  for (const Row& row : statistics) {
    move("STATISTICS", {row[0].value(), row[1].value()}, row[2].value());
  }
  for (const TakenTable& table : tables_) move("TABLE", table.source, table.source.schema);
}

std::vector<TableName> TableSet::asked_for() const {
  std::vector<TableName> names;
  for (const TakenTable& table : tables_) {
    if (table.asked_for) names.push_back(table.target);
  }
  return names;
}

std::vector<TableName> TableSet::source_names() const {
  std::vector<TableName> names;
  for (const TakenTable& table : tables_) names.push_back(table.source);
  return names;
}

std::vector<TableName> TableSet::target_names() const {
  std::vector<TableName> names;
  for (const TakenTable& table : tables_) names.push_back(table.target);
  return names;
}

std::vector<TableName> TableSet::dumped() const {
  std::vector<TableName> names = target_names();
  for (TableName& name : names) {
    for (const auto& [staged, schema] : staging_) {
      if (schema == name.schema) {
        name.schema = staged;
        break;
      }
    }
  }
  names.insert(names.end(), sequences_.begin(), sequences_.end());
  return names;
}

std::vector<std::string> TableSet::schemas() const {
  std::vector<std::string> names;
  for (const TakenTable& table : tables_) names.push_back(table.target.schema);
  for (const TableName& sequence : sequences_) names.push_back(sequence.schema);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace holdfast::postgres
