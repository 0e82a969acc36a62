#include "postgres/table_copy.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/error.h"
#include "base/piped_process.h"
#include "postgres/client_program.h"

namespace holdfast::postgres {
namespace {

using base::Error;
using base::ErrorKind;
using base::PipedProcess;
using base::ProcessResult;

constexpr std::size_t kBufferBytes = 256 * 1024;

// Both of the newer version: pg_dump reads servers that are older, and psql of the same release
// knows all that its script says.
ClientPrograms programs_for(const TableTarget& target, const TableCopyRequest& request) {
  return ClientPrograms::find(std::max(request.source_major, target.major()));
}

base::ProcessOptions dumper(const ClientPrograms& programs, const TableSet& tables,
                            const TableCopyRequest& request) {
  std::vector<std::string> arguments = {"--format=plain", "--no-publications",
                                        "--no-subscriptions"};
  const std::vector<std::string>& more = tables.dump_options();
  arguments.insert(arguments.end(), more.begin(), more.end());
  for (const TableName& name : tables.dumped()) {
    arguments.insert(arguments.end(), {"-t", dump_pattern(name)});
  }
  base::ProcessOptions options =
      programs.command("pg_dump", client_connection(request.source), std::move(arguments));
  options.extra_environment.emplace_back("PGOPTIONS=");  // the user's are for the target
  return options;
}

base::ProcessOptions loader(const ClientPrograms& programs, const TableCopyRequest& request) {
  // Terse: details of errors hold rows.
  return programs.command("psql", client_connection(request.into),
                          {"-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse"});
}

[[noreturn]] void loading_failed(const ProcessResult& result) {
  const bool in_use = result.err.find("other objects depend on it") != std::string::npos;
  throw Error(in_use ? ErrorKind::kRefused : ErrorKind::kFailed,
              fmt::format("the target took nothing and is as it was; psql says: {}",
                          last_words(result.err)),
              in_use ? "--rename SUFFIX restores beside what is there" : "");
}

}  // namespace

std::string script_before(const TableSet& tables, const std::vector<std::string>& new_schemas) {
  std::string script = "SET client_min_messages = warning;\nBEGIN;\n";
  for (const std::string& schema : new_schemas) {
    script += fmt::format("CREATE SCHEMA {};\n", quote_identifier(schema));
  }
  for (const auto& [staging, schema] : tables.staging()) {
    // For the owners that the tables get in there; it is gone before anyone else could see it.
    script += fmt::format("CREATE SCHEMA {0};\nGRANT ALL ON SCHEMA {0} TO PUBLIC;\n",
                          quote_identifier(staging));
  }
  return script;
}

std::string script_after(const std::vector<std::string>& statistics,
                         const std::vector<std::pair<std::string, std::string>>& staging,
                         const std::vector<TableName>& replaced,
                         const std::vector<ForeignKey>& foreign_keys) {
  std::string script;
  for (const std::string& command : statistics) script += command + ";\n";
  if (!replaced.empty()) {
    for (const ForeignKey& key : foreign_keys) {
      script += fmt::format("ALTER TABLE {} DROP CONSTRAINT {};\n", key.table, key.name);
    }
    std::vector<std::string> names;
    for (const TableName& name : replaced) names.push_back(sql_name(name));
    // Its details name what depends on the tables; they hold no rows.
    script += fmt::format("\\set VERBOSITY default\nDROP TABLE {};\n\\set VERBOSITY terse\n",
                          fmt::join(names, ", "));
  }
  for (const auto& [from, to] : staging) {
    script += fmt::format(
        "DO $holdfast$\nDECLARE command text;\nBEGIN\n"
        "  FOR command IN\n"
        "    SELECT format('ALTER TABLE %s SET SCHEMA %I', oid::regclass, {1}) FROM pg_class\n"
        "      WHERE relnamespace = {0}::regnamespace AND relkind IN ('r', 'p')\n"
        "    UNION ALL\n"
        "    SELECT format('ALTER STATISTICS %I.%I SET SCHEMA %I', {2}, stxname, {1})\n"
        "      FROM pg_statistic_ext WHERE stxnamespace = {0}::regnamespace\n"
        "  LOOP EXECUTE command; END LOOP;\nEND $holdfast$;\nDROP SCHEMA {3};\n",
        quote_literal(quote_identifier(from)), quote_literal(to), quote_literal(from),
        quote_identifier(from));
  }
  for (const ForeignKey& key : foreign_keys) {
    script +=
        fmt::format("ALTER TABLE {} ADD CONSTRAINT {} {};\n", key.table, key.name, key.definition);
  }
  return script + "COMMIT;\n";
}

void copy_tables(const TableSet& tables, TableTarget& target, const TableCopyRequest& request,
                 base::Progress& progress, const std::stop_token& stop) {
  std::vector<TableName> replaced;
  std::vector<ForeignKey> foreign_keys;
  if (request.replace) {
    replaced = target.existing(tables.target_names());
    foreign_keys = target.foreign_keys_to(replaced);
  }
  const std::string before = script_before(tables, target.missing_schemas(tables.schemas()));
  const std::string after =
      script_after(tables.statistics(), tables.staging(), replaced, foreign_keys);

  progress.phase("copying", 0);
  const ClientPrograms programs = programs_for(target, request);
  PipedProcess load(loader(programs, request), {.input = true, .output = false});
  PipedProcess dump(dumper(programs, tables, request), {.input = false, .output = true});
  bool taken = load.write(base::as_bytes(before), stop);
  base::Bytes buffer(kBufferBytes);
  while (taken) {
    const std::size_t size = dump.read(buffer, stop);
    if (size == 0) break;
    taken = load.write(base::ByteView(buffer).first(size), stop);
    progress.advance(size);
  }
  if (taken) {
    const ProcessResult dumped = dump.wait(stop);
    if (dumped.exit_status != 0) {
      // psql ends without COMMIT.
      throw Error(ErrorKind::kFailed, fmt::format("pg_dump failed, the target is as it was: {}",
                                                  last_words(dumped.err)));
    }
    taken = load.write(base::as_bytes(after), stop);
  }
  load.close_input();
  const ProcessResult loaded = load.wait(stop);
  if (!taken || loaded.exit_status != 0) loading_failed(loaded);
}

}  // namespace holdfast::postgres
