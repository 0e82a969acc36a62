#include "cli/restore_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/backup_view.h"
#include "cli/commands.h"
#include "cli/restore_command.h"
#include "cli/thaw_view.h"
#include "postgres/client_program.h"
#include "stack/component.h"

namespace holdfast::cli {
namespace {

using base::Error;
using base::ErrorKind;
using stack::TableRestoreOptions;
using stack::TableRestoreOutcome;

constexpr std::array<std::string_view, 4> kOwnOptions = {"--table", "--into", "--rename",
                                                         "--replace"};
// Of a restore into a directory; the rest means the same for tables.
constexpr std::array<std::string_view, 11> kOthers = {
    "--to",         "--lsn",   "--xid",       "--name",  "--timeline", "--action",
    "--tablespace", "--delta", "--run-hooks", "--start", "--keep-ttl"};

[[noreturn]] void usage(const std::string& problem, std::string hint = {}) {
  throw Error(ErrorKind::kUsage, problem, std::move(hint));
}

// Of the component itself, or of one of its dumps; those are named before.
std::string backup_named(Session& session, const std::string& component, const std::string& text) {
  const repository::Context& context = session.repository().context();
  const bool is_dump = text.starts_with(component + ".");
  return repository::resolve_backup(context, text, is_dump ? "" : component);
}

// Before anything is done, as it is needed last.
void require_readable(const std::string& into) {
  try {
    postgres::client_connection(into);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kConfig) throw;
    usage(fmt::format("--into: {}", error.what()), error.hint());
  }
}

TableRestoreOptions read_options(Session& session, const std::string& component) {
  const Arguments& arguments = session.arguments();
  for (const std::string_view option : kOthers) {
    if (arguments.has(option)) {
      usage(fmt::format("{} is not for single tables (--table)", option));
    }
  }
  TableRestoreOptions options;
  options.tables = arguments.values("--table");
  if (options.tables.empty()) {
    usage("which tables? --table SCHEMA.TABLE, as often as there are tables");
  }
  options.into = arguments.value("--into").value_or("");
  if (options.into.empty()) {
    usage("where are the tables to go? --into CONNINFO, a database",
          "for example --into \"host=/var/run/postgresql dbname=shop\"");
  }
  require_readable(options.into);
  options.replace = arguments.has("--replace");
  options.rename_suffix = arguments.value("--rename");
  if (options.replace && options.rename_suffix) {
    usage("--rename and --replace cannot be combined");
  }
  const std::vector<std::string> source = arguments.values("--only");
  if (source.size() > 1) usage("tables come from one database: --only DATABASE");
  if (!source.empty()) options.source = source.front();
  if (const auto at = arguments.value("--at"); at && *at != "latest") {
    options.at = base::parse_time(*at, session.clock().now());
    if (!options.at) {
      usage(fmt::format("\"{}\" is no time", *at),
            "for example 2024-01-17T12:00:00Z, \"2024-01-17 12:00:00\", -90m, -2d, latest");
    }
  }
  if (const auto backup = arguments.value("--backup")) {
    options.backup = backup_named(session, component, *backup);
  }
  options.restore_command = restore_command(session, component);
  options.scratch = session.config().scratch;
  options.workers = session.workers();
  options.thaw = thaw_request(arguments);
  return options;
}

nlohmann::json document_of(const std::string& component, const TableRestoreOutcome& outcome,
                           double seconds) {
  nlohmann::json tables = nlohmann::json::array();
  for (const auto& [source, target, rows] : outcome.tables) {
    tables.push_back({{"source", source}, {"target", target}, {"rows", rows}});
  }
  return {
      {"component", component},
      {"backup", outcome.backup},
      {"from_dump", outcome.from_dump},
      {"tables", tables},
      {"to", outcome.database},
      {"reached", outcome.reached_lsn.empty() ? nlohmann::json(nullptr)
                                              : nlohmann::json{{"time", time_json(outcome.reached)},
                                                               {"lsn", outcome.reached_lsn}}},
      {"duration_seconds", seconds},
      {"notes", outcome.notes},
      {"warnings", outcome.warnings}};
}

void print_outcome(Session& session, const TableRestoreOutcome& outcome, base::Duration duration) {
  for (const auto& [source, target, rows] : outcome.tables) {
    session.print(fmt::format("restored {}{}: {} rows", source,
                              target == source ? std::string() : " as " + target, rows));
  }
  session.print(fmt::format("from {}{}, in {}", outcome.backup,
                            outcome.reached
                                ? ", last transaction at " + base::format_time(*outcome.reached)
                                : std::string(),
                            base::format_duration(duration)));
}

}  // namespace

bool wants_tables(const Arguments& arguments) {
  return std::any_of(kOwnOptions.begin(), kOwnOptions.end(),
                     [&](std::string_view option) { return arguments.has(option); });
}

int restore_tables(Session& session) {
  const std::string& component = session.arguments().positional.front();
  const stack::ComponentConfig& config = session.config().component(component);
  const auto kind = stack::make_component(config);
  const TableRestoreOptions options = read_options(session, component);
  repository::Repository& repository = session.repository();
  repository.require_reading("restore");
  const auto begin = std::chrono::steady_clock::now();
  TableRestoreOutcome outcome;
  try {
    const auto progress = session.progress();
    outcome = kind->restore_tables(repository.context(), options, *progress, session.stop());
  } catch (const repository::FrozenError& error) {
    return report_frozen(session, component, error);
  }
  const auto duration =
      std::chrono::duration_cast<base::Duration>(std::chrono::steady_clock::now() - begin);
  print_outcome(session, outcome, duration);
  if (session.json()) {
    const std::chrono::duration<double> seconds = duration;
    session.print_json(document_of(component, outcome, seconds.count()));
  }
  return outcome.warnings.empty() ? kDone : kAttention;
}

}  // namespace holdfast::cli
