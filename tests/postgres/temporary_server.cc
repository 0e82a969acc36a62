#include "postgres/temporary_server.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <stdexcept>

namespace holdfast::postgres {
namespace {

// Where the server's programs are: HOLDFAST_POSTGRES_BIN (to judge by another version than the
// installed one), or as pg_config says. Empty if that cannot be found out.
std::filesystem::path program_directory() {
  if (const char* chosen = std::getenv("HOLDFAST_POSTGRES_BIN")) {
    return chosen;
  }
  const base::ProcessResult result = base::run_process({.argv = {"pg_config", "--bindir"}});
  return result.exit_status == 0 ? result.out.substr(0, result.out.find('\n')) : "";
}

std::optional<uid_t> server_user() {
  if (geteuid() != 0) {
    return std::nullopt;
  }
  const passwd* entry = getpwnam("postgres");
  return entry != nullptr ? std::optional{entry->pw_uid} : std::nullopt;
}

}  // namespace

std::string TemporaryServer::why_unavailable() {
  if (geteuid() == 0 && !server_user()) {
    return "this runs as root and there is no user postgres to start a server as";
  }
  try {
    const auto directory = program_directory();
    return std::filesystem::exists(directory / "initdb") ? "" : "no PostgreSQL server is installed";
  } catch (const std::exception& error) {
    return fmt::format("pg_config cannot be run: {}", error.what());
  }
}

TemporaryServer::TemporaryServer(std::vector<std::string> initdb_options) {
  std::string name = std::filesystem::temp_directory_path() / "holdfast-server.XXXXXX";
  if (mkdtemp(name.data()) == nullptr) {
    throw std::runtime_error("mkdtemp failed");
  }
  directory_ = name;
  if (const auto user = server_user()) {
    if (chown(name.c_str(), *user, static_cast<gid_t>(-1)) != 0) {
      throw std::runtime_error("chown failed");
    }
  }
  std::vector<std::string> arguments = {"-D",       data(),      "-A",          "trust", "-U",
                                        "postgres", "--no-sync", "--no-locale", "-E",    "UTF8"};
  arguments.insert(arguments.end(), initdb_options.begin(), initdb_options.end());
  run("initdb", arguments);
}

TemporaryServer::~TemporaryServer() {
  try {
    if (running_) {
      try_run("pg_ctl", {"-D", data(), "-m", "immediate", "-w", "stop"});
    }
    std::filesystem::remove_all(directory_);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s is left behind: %s\n", directory_.c_str(), error.what());
  }
}

void TemporaryServer::start(const std::string& settings) {
  std::ofstream(data() / "postgresql.auto.conf", std::ios::app)
      << settings << "listen_addresses = ''\nunix_socket_directories = '" << directory_.native()
      << "'\nfsync = off\nlog_timezone = 'UTC'\ntimezone = 'UTC'\n";
  running_ = true;
  run("pg_ctl", {"-D", data(), "-w", "-l", directory_ / "log", "start"});
}

void TemporaryServer::stop() {
  run("pg_ctl", {"-D", data(), "-m", "fast", "-w", "stop"});
  running_ = false;
}

std::string TemporaryServer::sql(const std::string& statements) {
  // Through a file: each statement is its own transaction, as with psql's standard input.
  const auto script = directory_ / "script.sql";
  std::ofstream(script) << statements;
  return run("psql", {"-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", directory_, "-U",
                      "postgres", "-f", script, "postgres"});
}

base::ProcessResult TemporaryServer::try_run(const std::string& program,
                                             const std::vector<std::string>& arguments) {
  base::ProcessOptions options;
  const auto path = program_directory() / program;
  options.argv = {std::filesystem::exists(path) ? path.native() : program};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.working_directory = directory_;
  options.uid = server_user();
  options.extra_environment = {"TZ=UTC", "PGTZ=UTC", "LC_ALL=C"};
  options.max_output_bytes = 256 << 20;
  return base::run_process(options);
}

std::string TemporaryServer::run(const std::string& program,
                                 const std::vector<std::string>& arguments) {
  base::ProcessResult result = try_run(program, arguments);
  if (result.exit_status != 0) {
    throw std::runtime_error(fmt::format("{} exited with {}: {}{}", program, result.exit_status,
                                         result.out, result.err));
  }
  return result.out;
}

}  // namespace holdfast::postgres
