#include "postgres/table_target.h"

#include <fmt/format.h>

#include "base/error.h"

namespace holdfast::postgres {
namespace {

using base::Error;
using base::ErrorKind;

std::vector<std::string> sql_names(const std::vector<TableName>& names) {
  std::vector<std::string> out;
  for (const TableName& name : names) out.push_back(sql_name(name));
  return out;
}

std::string listed(const std::vector<std::string>& names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

// $1: tables by name. `old` has the oids of those that exist, and of their partitions and children.
constexpr std::string_view kOld =
    "WITH RECURSIVE old(oid) AS ("
    "  SELECT to_regclass(name)::oid FROM unnest($1::text[]) AS name"
    "  WHERE to_regclass(name) IS NOT NULL"
    "  UNION SELECT inhrelid FROM pg_inherits JOIN old ON inhparent = old.oid)";

// What would keep DROP TABLE, without CASCADE, from dropping them: whatever depends on the table,
// its row type or its own sequences, and is no part of it.
constexpr std::string_view kDependents =
    ", things(class, id) AS ("
    "  SELECT 'pg_class'::regclass::oid, oid FROM old"
    "  UNION SELECT 'pg_type'::regclass::oid, reltype FROM pg_class JOIN old USING (oid)"
    "  UNION SELECT 'pg_type'::regclass::oid, t.typarray FROM pg_class c JOIN old USING (oid)"
    "    JOIN pg_type t ON t.oid = c.reltype"
    "  UNION SELECT classid, objid FROM pg_depend JOIN old ON refobjid = old.oid"
    "    WHERE refclassid = 'pg_class'::regclass AND classid = 'pg_class'::regclass"
    "      AND deptype IN ('a', 'i'))"
    "SELECT DISTINCT CASE WHEN r.oid IS NULL THEN pg_describe_object(d.classid, d.objid, "
    "d.objsubid)"
    "  ELSE pg_describe_object('pg_class'::regclass, r.ev_class, 0) END"
    " FROM pg_depend d JOIN things ON d.refclassid = things.class AND d.refobjid = things.id"
    " LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid"
    " LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid"
    " LEFT JOIN pg_constraint c ON d.classid = 'pg_constraint'::regclass AND c.oid = d.objid"
    " LEFT JOIN pg_policy p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid"
    " WHERE d.deptype = 'n' AND coalesce(c.contype, ' ') <> 'f'"
    "  AND NOT EXISTS (SELECT FROM old WHERE old.oid IN"
    "    (r.ev_class, a.adrelid, c.conrelid, p.polrelid))"
    "  AND NOT EXISTS (SELECT FROM things own WHERE own.class = d.classid AND own.id = d.objid)"
    " ORDER BY 1";

std::string of_old(std::string_view query) { return fmt::format("{}{}", kOld, query); }

Connection connect(const std::string& conninfo) {
  try {
    return Connection(conninfo);
  } catch (Error& error) {
    error.add_context("the target (--into)");
    error.set_hint(
        "see that its server runs, and that --into names its host (or socket directory), "
        "port, database and a user who may connect");
    throw;
  }
}

}  // namespace

std::string array_literal(const std::vector<std::string>& values) {
  std::string out = "{";
  for (const std::string& value : values) {
    out += out.size() > 1 ? ",\"" : "\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  return out + "}";
}

TableTarget::TableTarget(const std::string& conninfo, const std::stop_token& stop)
    : connection_(connect(conninfo)) {
  connection_.obey(stop);
  connection_.query("SELECT pg_catalog.set_config('search_path', '', false)");
  database_ = connection_.value("SELECT current_database()");
  if (connection_.value("SELECT pg_is_in_recovery()") == "t") {
    throw Error(ErrorKind::kRefused,
                "the target (--into) is a standby: nothing can be written to it",
                "name its primary");
  }
}

bool TableTarget::exists(const TableName& name) { return !existing({name}).empty(); }

std::vector<TableName> TableTarget::existing(const std::vector<TableName>& names) {
  std::vector<TableName> out;
  const std::vector<Row> rows = connection_.query(
      "SELECT n FROM unnest($1::text[]) WITH ORDINALITY AS t(name, n)"
      " WHERE to_regclass(name) IS NOT NULL ORDER BY n",
      {array_literal(sql_names(names))});
  for (const Row& row : rows) out.push_back(names.at(std::stoul(row[0].value()) - 1));
  return out;
}

void TableTarget::require_free(const std::vector<TableName>& names) {
  std::vector<std::string> taken;
  for (const TableName& name : existing(names)) taken.push_back(shown_name(name));
  if (taken.empty()) return;
  throw Error(ErrorKind::kRefused,
              fmt::format("the target database {} has {} already", database_, listed(taken)),
              "--rename SUFFIX restores beside it, --replace in its place");
}

void TableTarget::refuse_if(const std::vector<Row>& rows, const char* what, const char* hint) {
  if (rows.empty()) return;
  std::vector<std::string> found;
  for (const Row& row : rows) found.push_back(row[0].value_or(""));
  throw Error(ErrorKind::kRefused, fmt::format("{}: {}", what, listed(found)), hint);
}

void TableTarget::require_replaceable(const std::vector<TableName>& asked,
                                      const std::vector<TableName>& taken) {
  if (!taken.empty()) require_nothing_else_goes(asked, taken);
  const std::string array = array_literal(sql_names(taken.empty() ? asked : taken));
  refuse_if(connection_.query("SELECT pg_describe_object('pg_class'::regclass, oid, 0)"
                              " FROM pg_class WHERE oid IN"
                              " (SELECT to_regclass(name) FROM unnest($1::text[]) AS name)"
                              " AND relkind NOT IN ('r', 'p') ORDER BY 1",
                              {array}),
            "only a table is replaced by a table; the target has", "--rename SUFFIX");
  refuse_if(connection_.query(of_old("SELECT format('%s (of %s)', inhrelid::regclass,"
                                     " inhparent::regclass) FROM pg_inherits JOIN old"
                                     " ON inhrelid = old.oid WHERE inhparent NOT IN"
                                     " (SELECT oid FROM old) ORDER BY 1"),
                              {array}),
            "a partition or a child of another table is not replaced alone",
            "name the table that it is a part of, or restore beside it with --rename SUFFIX");
  refuse_if(connection_.query(of_old(kDependents), {array}),
            "what would be replaced is used by others, which would have to be dropped too",
            "drop them and make them again afterwards, or restore beside it with --rename SUFFIX");
}

// Partitions come and go: one of then may stand alone now, and one of now may be none of then.
void TableTarget::require_nothing_else_goes(const std::vector<TableName>& asked,
                                            const std::vector<TableName>& taken) {
  const std::string array = array_literal(sql_names(asked));
  const std::string takens = array_literal(sql_names(taken));
  refuse_if(connection_.query(of_old("SELECT to_regclass(name) FROM unnest($2::text[]) AS name"
                                     " WHERE to_regclass(name) IS NOT NULL"
                                     " AND to_regclass(name)::oid NOT IN (SELECT oid FROM old)"
                                     " ORDER BY 1"),
                              {array, takens}),
            "a part of what was asked for is a table of its own in the target, which nobody named",
            "name it too with --table to replace it, rename it, or restore with --rename SUFFIX");
  refuse_if(connection_.query(of_old("SELECT oid::regclass FROM old WHERE oid NOT IN"
                                     " (SELECT to_regclass(name)::oid FROM unnest($2::text[])"
                                     " AS name WHERE to_regclass(name) IS NOT NULL) ORDER BY 1"),
                              {array, takens}),
            "the target has partitions or children that were not there at that moment, and that "
            "would go with what is replaced",
            "detach them (ALTER TABLE … DETACH PARTITION, NO INHERIT) or drop them first, or "
            "restore with --rename SUFFIX");
}

void TableTarget::require_schemas_can_be_made() {
  if (connection_.value("SELECT has_database_privilege(current_database(), 'CREATE')") == "t")
    return;
  throw Error(
      ErrorKind::kRefused,
      fmt::format("--replace needs the right to make schemas in the database {}: the new "
                  "tables stand in one until they take their place",
                  database_),
      "GRANT CREATE ON DATABASE … TO this user, another user in --into, or --rename SUFFIX");
}

std::vector<ForeignKey> TableTarget::foreign_keys_to(const std::vector<TableName>& names) {
  std::vector<ForeignKey> keys;
  const std::vector<Row> rows = connection_.query(
      of_old("SELECT conrelid::regclass, quote_ident(conname), pg_get_constraintdef(c.oid),"
             " obj_description(c.oid, 'pg_constraint'),"
             " EXISTS (SELECT FROM pg_trigger WHERE tgconstraint = c.oid AND tgenabled <> 'O')"
             " FROM pg_constraint c WHERE contype = 'f' AND conparentid = 0"
             " AND confrelid IN (SELECT oid FROM old) AND conrelid NOT IN (SELECT oid FROM old)"
             " ORDER BY 1, 2"),
      {array_literal(sql_names(names))});
  for (const Row& row : rows) {
    keys.push_back({.table = row[0].value(),
                    .name = row[1].value(),
                    .definition = row[2].value(),
                    .comment = row[3].value_or(""),
                    .is_disabled = row[4] == "t"});
  }
  return keys;
}

std::vector<std::string> TableTarget::publications_of(const std::vector<TableName>& names) {
  std::vector<std::string> out;
  const std::vector<Row> rows = connection_.query(
      of_old("SELECT DISTINCT pubname FROM pg_publication p JOIN pg_publication_rel r"
             " ON r.prpubid = p.oid JOIN old ON r.prrelid = old.oid ORDER BY 1"),
      {array_literal(sql_names(names))});
  for (const Row& row : rows) out.push_back(row[0].value());
  return out;
}

// Of `values`, called `name` in the condition, those that meet it.
std::vector<std::string> TableTarget::filter(const std::string& condition,
                                             const std::vector<std::string>& values) {
  std::vector<std::string> out;
  for (const Row& row : connection_.query(
           fmt::format("SELECT name FROM unnest($1::text[]) AS name WHERE {}", condition),
           {array_literal(values)})) {
    out.push_back(row[0].value());
  }
  return out;
}

std::vector<std::string> TableTarget::missing_schemas(const std::vector<std::string>& names) {
  return filter("NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = name)", names);
}

std::vector<std::string> TableTarget::missing_roles(const std::vector<std::string>& names) {
  return filter("NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)", names);
}

std::vector<std::string> TableTarget::roles_out_of_reach(const std::vector<std::string>& names) {
  return filter(
      "EXISTS (SELECT FROM pg_roles WHERE rolname = name AND NOT pg_has_role(oid, 'MEMBER'))",
      names);
}

std::vector<std::string> TableTarget::missing_tablespaces(const std::vector<std::string>& names) {
  return filter("NOT EXISTS (SELECT FROM pg_tablespace WHERE spcname = name)", names);
}

std::vector<std::string> TableTarget::missing_types(const std::vector<std::string>& sql_names) {
  return filter("to_regtype(name) IS NULL", sql_names);
}

std::vector<std::string> TableTarget::missing_functions(const std::vector<std::string>& sql_names) {
  return filter("to_regprocedure(name) IS NULL", sql_names);
}

}  // namespace holdfast::postgres
