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

// Of what we write ourselves; pg_dump says its own.
constexpr std::string_view kEncoding = "SET client_encoding = 'UTF8';\n";
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
  return programs.command("pg_dump", client_connection(request.source), std::move(arguments));
}

base::ProcessOptions loader(const ClientPrograms& programs, const TableCopyRequest& request) {
  // Terse: details of errors hold rows.
  base::ProcessOptions options =
      programs.command("psql", client_connection(request.into),
                       {"-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse"});
  // In front: what a connection needs goes before what the user has set.
  options.extra_environment.insert(options.extra_environment.begin(), request.environment.begin(),
                                   request.environment.end());
  return options;
}

[[noreturn]] void loading_failed(const ProcessResult& result) {
  const bool in_use = result.err.find("other objects depend on it") != std::string::npos;
  throw Error(
      in_use ? ErrorKind::kRefused : ErrorKind::kFailed,
      fmt::format("the target took nothing and is as it was: {}", failure_of("psql", result)),
      in_use ? "--rename SUFFIX restores beside what is there" : "");
}

}  // namespace

std::string script_before(const TableSet& tables, const std::vector<std::string>& new_schemas) {
  std::string script(kEncoding);
  // pg_dump may be at work for a while before it says so itself.
  script += "SET idle_in_transaction_session_timeout = 0;\n";
  script += "SET client_min_messages = warning;\nBEGIN;\n";
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

std::string script_after(const FinishingTouches& touches) {
  std::string script(kEncoding);
  for (const std::string& command : touches.statistics) script += command + ";\n";
  if (!touches.replaced.empty()) {
    for (const ForeignKey& key : touches.foreign_keys) {
      script += fmt::format("ALTER TABLE {} DROP CONSTRAINT {};\n", key.table, key.name);
    }
    std::vector<std::string> names;
    for (const TableName& name : touches.replaced) names.push_back(sql_name(name));
    // Its details name what depends on the tables; they hold no rows.
    script += fmt::format("\\set VERBOSITY default\nDROP TABLE {};\n\\set VERBOSITY terse\n",
                          fmt::join(names, ", "));
  }
  for (const std::string& command : touches.moves) script += command + ";\n";
  for (const std::string& schema : touches.staging) {
    script += fmt::format("DROP SCHEMA {};\n", quote_identifier(schema));
  }
  for (const ForeignKey& key : touches.foreign_keys) {
    script +=
        fmt::format("ALTER TABLE {} ADD CONSTRAINT {} {};\n", key.table, key.name, key.definition);
    if (key.comment.empty()) continue;
    script += fmt::format("COMMENT ON CONSTRAINT {} ON {} IS {};\n", key.name, key.table,
                          quote_literal(key.comment));
  }
  // An error for what is not there: pg_dump leaves out some things without a word.
  for (const TableName& name : touches.expected) {
    script += fmt::format("SELECT {}::pg_catalog.regclass;\n", quote_literal(sql_name(name)));
  }
  return script + "COMMIT;\n";
}

void copy_tables(const TableSet& tables, TableTarget& target, const TableCopyRequest& request,
                 base::Progress& progress, const std::stop_token& stop) {
  FinishingTouches touches{.statistics = tables.statistics(),
                           .moves = tables.moves(),
                           .expected = tables.target_names()};
  for (const auto& [staging, schema] : tables.staging()) touches.staging.push_back(staging);
  if (request.replace) {
    touches.replaced = target.existing(tables.target_names());
    touches.foreign_keys = target.foreign_keys_to(touches.replaced);
  }
  const std::string before = script_before(tables, target.missing_schemas(tables.schemas()));
  const std::string after = script_after(touches);

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
      throw Error(ErrorKind::kFailed,
                  fmt::format("the target is as it was: {}", failure_of("pg_dump", dumped)));
    }
    taken = load.write(base::as_bytes(after), stop);
  }
  load.close_input();
  const ProcessResult loaded = load.wait(stop);
  if (!taken || loaded.exit_status != 0) loading_failed(loaded);
}

}  // namespace holdfast::postgres
