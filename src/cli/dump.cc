#include "cli/dump.h"

#include <fmt/format.h>

#include <charconv>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/priority.h"
#include "cli/commands.h"
#include "cli/wal_system.h"
#include "postgres/dump_details.h"

namespace holdfast::cli {
namespace {

using base::Error;
using base::ErrorKind;

int read_parallel(const std::string& text) {
  constexpr int kMost = 64;
  int value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem == std::errc{} && end == text.data() + text.size() && value >= 1 && value <= kMost) {
    return value;
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("-j wants a number from 1 to {}, not \"{}\"", kMost, text));
}

const stack::ComponentConfig& choose_component(Session& session) {
  if (const auto name = postgres_component(session)) return session.config().component(*name);
  throw Error(ErrorKind::kUsage, "the configuration has no PostgreSQL, or more than one",
              "name one with --component NAME");
}

stack::DumpOptions read_options(Session& session) {
  const Arguments& arguments = session.arguments();
  stack::DumpOptions options;
  options.database = arguments.positional.front();
  options.format = arguments.value("--format").value_or("custom");
  options.tables = arguments.values("--table");
  if (const auto jobs = arguments.value("--jobs")) options.parallel = read_parallel(*jobs);
  if (options.parallel > 1 && options.format != "directory") {
    throw Error(ErrorKind::kUsage, "only the directory format can be dumped in parallel",
                "say --format directory, or leave -j away");
  }
  if (const auto job = arguments.value("--job")) options.job = session.config().job(*job).name;
  return options;
}

std::vector<std::string> places_of(Session& session, const stack::ComponentConfig& component,
                                   const std::string& job) {
  if (const auto only = session.arguments().value("--repository")) {
    return {session.config().repository(*only).name};
  }
  return session.config().repositories_for(
      component, job.empty() ? std::vector<std::string>{} : session.config().job(job).repositories);
}

}  // namespace

bool dump_database(Session& session, const stack::ComponentConfig& component,
                   stack::DumpOptions options, const std::string& repository_name,
                   const repository::Repository& repository, BackupReport& report) {
  options.scratch = session.config().scratch;
  try {
    base::throw_if_stopped(session.stop());
    repository::BackupSummary dump;
    {
      const auto progress = session.progress();
      dump = stack::make_component(component)->take_dump(repository.context(), options, *progress,
                                                         session.stop());
    }
    report.done(std::move(dump), repository_name);
    return true;
  } catch (const Error& error) {
    report.failed(postgres::dump_component(component.name, options.database), repository_name,
                  error);
    return error.kind() != ErrorKind::kInterrupted;
  }
}

int run_dump(Session& session) {
  const stack::ComponentConfig& component = choose_component(session);
  const stack::DumpOptions options = read_options(session);
  const std::vector<std::string> places = places_of(session, component, options.job);
  if (session.config().limits.low_priority && !base::lower_priority()) {
    session.note("the system does not let this run at a lower priority");
  }
  BackupReport report(session);
  if (places.size() > 1) report.name_repositories();
  for (const std::string& place : places) {
    std::unique_ptr<repository::Repository> repository;
    try {
      repository = session.open(session.config().repository(place));
    } catch (const Error& error) {
      if (places.size() == 1) throw;
      report.could_not_open({postgres::dump_component(component.name, options.database)}, place,
                            error);
      continue;
    }
    if (!dump_database(session, component, options, place, *repository, report)) break;
  }
  if (session.json()) report.print_json();
  return report.status(places.size() == 1);
}

}  // namespace holdfast::cli
