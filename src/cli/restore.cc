#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/process.h"
#include "cli/backup_view.h"
#include "cli/commands.h"
#include "cli/restore_command.h"
#include "cli/restore_tables.h"
#include "cli/session.h"
#include "cli/thaw_view.h"
#include "stack/component.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;
using stack::RestoreOptions;
using stack::RestoreOutcome;

// A command that brings services up may pull images before.
constexpr std::chrono::minutes kHookTimeout{60};

[[noreturn]] void usage(const std::string& problem, std::string hint = {}) {
  throw Error(ErrorKind::kUsage, problem, std::move(hint));
}

std::string absolute(const std::string& path) {
  return fs::absolute(path).lexically_normal().string();
}

void refuse_two_targets(const Arguments& arguments) {
  std::string first;
  for (const std::string_view option : {"--at", "--lsn", "--xid", "--name"}) {
    if (!arguments.has(option)) continue;
    if (!first.empty()) usage(fmt::format("{} and {} cannot be combined", first, option));
    first = option;
  }
}

void read_moment(const std::string& text, base::Time now, RestoreOptions& options) {
  if (text == "latest") {
    options.latest = true;
    return;
  }
  options.at = base::parse_time(text, now);
  if (options.at) return;
  usage(fmt::format("\"{}\" is no time", text),
        "for example 2024-01-17T12:00:00Z, \"2024-01-17 12:00:00\", -90m, -2d, latest");
}

std::map<std::string, std::string> read_tablespaces(const std::vector<std::string>& values) {
  std::map<std::string, std::string> result;
  for (const std::string& value : values) {
    const std::size_t equals = value.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == value.size()) {
      usage(fmt::format("--tablespace wants OLD=NEW, not \"{}\"", value));
    }
    const std::string old_location = absolute(value.substr(0, equals));
    if (!result.emplace(old_location, absolute(value.substr(equals + 1))).second) {
      usage(fmt::format("the tablespace at {} is given twice", old_location));
    }
  }
  return result;
}

RestoreOptions read_options(Session& session, const std::string& component) {
  const Arguments& arguments = session.arguments();
  RestoreOptions options;
  const auto to = arguments.value("--to");
  if (!to || to->empty()) usage("`restore` wants a directory: --to DIR");
  refuse_two_targets(arguments);
  options.to = absolute(*to);
  if (const auto at = arguments.value("--at")) read_moment(*at, session.clock().now(), options);
  options.lsn = arguments.value("--lsn");
  options.xid = arguments.value("--xid");
  options.name = arguments.value("--name");
  options.timeline = arguments.value("--timeline").value_or("");
  options.action = arguments.value("--action").value_or("");
  options.tablespaces = read_tablespaces(arguments.values("--tablespace"));
  options.delta = arguments.has("--delta");
  options.only = arguments.values("--only");
  for (const std::string& path : options.only) {
    if (path.empty()) usage("--only wants a path: an empty one would mean everything");
  }
  options.start = arguments.has("--start");
  options.workers = session.workers();
  options.thaw = thaw_request(arguments);
  options.restore_command = restore_command(session, component);
  return options;
}

std::string port_of(const std::string& conninfo) {
  const std::size_t start = conninfo.find("port=");
  if (start == std::string::npos) return {};
  const std::size_t digits = start + std::string_view("port=").size();
  return conninfo.substr(digits, conninfo.find_first_not_of("0123456789", digits) - digits);
}

nlohmann::json document_of(const std::string& component, const RestoreOptions& options,
                           const RestoreOutcome& outcome, double seconds) {
  nlohmann::json document = {
      {"component", component},
      {"backup", outcome.backup},
      {"to", options.to.string()},
      {"bytes", outcome.bytes},
      {"bytes_written", outcome.bytes_written},
      {"files", outcome.files},
      {"removed", outcome.removed},
      {"duration_seconds", seconds},
      {"notes", outcome.notes},
      {"warnings", outcome.warnings},
      {"next_step", outcome.next_step},
      {"reached", nullptr},
  };
  if (outcome.reached) {
    document["reached"] = {{"time", time_json(outcome.reached->time)},
                           {"lsn", outcome.reached->lsn}};
    const std::string& server = outcome.reached->server;
    if (!server.empty()) document["server"] = server;
    if (const std::string port = port_of(server); !port.empty()) {
      document["port"] = std::stoi(port);
    }
  }
  return document;
}

void print_outcome(Session& session, const RestoreOptions& options, const RestoreOutcome& outcome,
                   base::Duration duration) {
  const std::string written = options.delta ? fmt::format(" ({} written, the rest was there)",
                                                          base::format_size(outcome.bytes_written))
                                            : std::string();
  session.print(fmt::format("restored {} into {}: {}{}, {} files, in {}", outcome.backup,
                            options.to.string(), base::format_size(outcome.bytes), written,
                            outcome.files, base::format_duration(duration)));
  if (outcome.reached) {
    const auto& reached = *outcome.reached;
    session.print(fmt::format("reached LSN {}{}", reached.lsn,
                              reached.time
                                  ? ", last transaction at " + base::format_time(*reached.time)
                                  : std::string()));
    if (!reached.server.empty()) {
      session.print(fmt::format("the server runs: psql \"{}\"", reached.server));
    }
  }
  if (outcome.removed > 0) {
    session.print(fmt::format("removed {} that did not belong", outcome.removed));
  }
  for (const std::string& warning : outcome.warnings) session.warn(warning);
  if (!outcome.next_step.empty()) session.print(outcome.next_step);
}

// The component's own command, as the configuration has it: a shell's, in the restored directory.
// What it prints goes to standard error.
void run_hook(Session& session, const stack::ComponentConfig& component,
              const std::filesystem::path& directory) {
  base::ProcessOptions options{.argv = {"/bin/sh", "-c", component.after_restore},
                               .working_directory = directory.string(),
                               .timeout = kHookTimeout};
  session.note("running: " + component.after_restore);
  const base::ProcessResult result = base::run_process(options, session.stop());
  for (const std::string& text : {result.out, result.err}) {
    if (!text.empty()) session.note(text.substr(0, text.find_last_not_of('\n') + 1));
  }
  if (result.exit_status == 0) return;
  throw Error(
      ErrorKind::kFailed,
      fmt::format("{} is restored, but its after_restore {}", component.name,
                  result.timed_out
                      ? fmt::format("had not ended after {}", base::format_duration(kHookTimeout))
                      : fmt::format("ended with status {}", result.exit_status)),
      fmt::format("run it by hand in {}: {}", directory.string(), component.after_restore));
}

// What the server will need that this process has from its environment.
void note_environment(Session& session, const stack::ComponentConfig& component) {
  if (component.type != "postgresql") return;
  const auto& passphrase = session.repository_config().passphrase;
  if (passphrase.kind != stack::SecretSource::Kind::kEnvironment) return;
  session.note(
      fmt::format("the server fetches WAL while it recovers: it needs {} in its environment",
                  passphrase.value));
}

}  // namespace

int run_restore(Session& session) {
  std::string component = session.arguments().positional.front();
  if (component == "all") usage("`restore all` is not supported by this version yet");
  session.prefer_repository_of(component);
  if (wants_tables(session.arguments())) return restore_tables(session);
  const auto backup = session.arguments().value("--backup");
  std::string backup_id;
  if (backup) {
    // A dump may be named where its database's component is.
    const bool is_dump = backup->starts_with(component + ".");
    const repository::Context& context = session.repository().context();
    backup_id = repository::resolve_backup(context, *backup, is_dump ? "" : component);
    if (is_dump) component = repository::component_of(backup_id);
  }
  const stack::ComponentConfig config = session.config().component_or_dump(component);
  const bool run_hooks = session.arguments().has("--run-hooks");
  if (run_hooks && config.after_restore.empty()) {
    usage(fmt::format("{} has no after_restore to run", component));
  }
  RestoreOptions options = read_options(session, component);
  const auto kind = stack::make_component(config);
  repository::Repository& repository = session.repository();
  repository.require_reading("restore");
  if (backup) options.backup = backup_id;
  note_environment(session, config);
  const auto begin = std::chrono::steady_clock::now();
  RestoreOutcome outcome;
  try {
    const auto progress = session.progress();
    outcome = kind->restore(repository.context(), options, *progress, session.stop());
  } catch (const repository::FrozenError& error) {
    return report_frozen(session, component, error);
  }
  const auto duration =
      std::chrono::duration_cast<base::Duration>(std::chrono::steady_clock::now() - begin);
  if (run_hooks) outcome.next_step.clear();
  print_outcome(session, options, outcome, duration);
  if (run_hooks) run_hook(session, config, options.to);
  if (session.json()) {
    const std::chrono::duration<double> seconds = duration;
    session.print_json(document_of(component, options, outcome, seconds.count()));
  }
  return outcome.warnings.empty() ? kDone : kAttention;
}

}  // namespace holdfast::cli
