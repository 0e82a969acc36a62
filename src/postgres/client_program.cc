#include "postgres/client_program.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "postgres/server.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;

// The number that a directory's name ends with: 15 of /usr/lib/postgresql/15 or /usr/pgsql-15.
int version_in(const fs::path& directory) {
  const std::string name = directory.filename().string();
  const auto digits = name.find_last_not_of("0123456789") + 1;
  int version = 0;
  std::from_chars(name.data() + digits, name.data() + name.size(), version);
  return version;
}

// Debian's and Red Hat's places, of versions that are not older. The newest.
std::optional<fs::path> newest_packaged(int least) {
  std::pair<int, fs::path> best{least - 1, {}};
  for (const auto& [parent, prefix] : {std::pair("/usr/lib/postgresql", ""), {"/usr", "pgsql-"}}) {
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator(parent, ignored)) {
      const fs::path programs = entry.path() / "bin";
      if (!entry.path().filename().string().starts_with(prefix)) continue;
      if (!fs::exists(programs / "pg_dump", ignored)) continue;
      const int version = version_in(entry.path());
      // The same version is better than any other.
      if (version == least) return programs;
      best = std::max(best, {version, programs});
    }
  }
  if (best.second.empty()) return std::nullopt;
  return best.second;
}

// The directory in PATH where pg_dump is, unless it is too old.
std::optional<fs::path> in_path(int least) {
  const char* const variable = std::getenv("PATH");
  std::string_view path = variable != nullptr ? variable : "";
  while (!path.empty()) {
    const auto end = std::min(path.find(':'), path.size());
    const fs::path directory = path.substr(0, end);
    path.remove_prefix(std::min(end + 1, path.size()));
    std::error_code ignored;
    if (directory.empty() || !fs::exists(directory / "pg_dump", ignored)) continue;
    const std::string version = ClientPrograms(directory).version("pg_dump");
    int major = 0;
    std::from_chars(version.data(), version.data() + version.size(), major);
    if (major >= least) return directory;
  }
  return std::nullopt;
}

}  // namespace

ClientConnection client_connection(const std::string& conninfo, const std::string& database) {
  ClientConnection connection;
  ConnectionOptions shown;
  for (auto& [name, value] : read_conninfo(conninfo)) {
    if (name == "dbname" && !database.empty()) continue;
    if (name == "password") {
      connection.environment.push_back("PGPASSWORD=" + value);
    } else if (name == "sslpassword") {
      throw Error(ErrorKind::kConfig,
                  "a connection string holds sslpassword, which PostgreSQL's programs could only "
                  "be given where everyone can read it",
                  "put it into a service of pg_service.conf, and name that: service=NAME");
    } else {
      shown.emplace_back(std::move(name), std::move(value));
    }
  }
  if (!database.empty()) shown.emplace_back("dbname", database);
  connection.conninfo = conninfo_of(shown);
  return connection;
}

ClientPrograms ClientPrograms::find(int server_major) {
  std::error_code ignored;
  const std::optional<fs::path> of_server = server_programs(server_major);
  if (of_server && fs::exists(*of_server / "pg_dump", ignored)) return ClientPrograms(*of_server);
  if (const auto packaged = newest_packaged(server_major)) return ClientPrograms(*packaged);
  if (const auto other = in_path(server_major)) return ClientPrograms(*other);
  throw Error(ErrorKind::kFailed,
              fmt::format("PostgreSQL's client programs of version {} or later (pg_dump, psql, "
                          "pg_restore) are not on this machine",
                          server_major),
              fmt::format("install them: Debian's package postgresql-client-{0}, Red Hat's "
                          "postgresql{0}, or put their directory into PATH",
                          server_major));
}

std::string ClientPrograms::version(const std::string& name) const {
  const base::ProcessResult result = base::run_process({.argv = {path(name), "--version"}});
  if (result.exit_status != 0) {
    throw Error(ErrorKind::kFailed,
                fmt::format("{} --version failed: {}", path(name), last_words(result.err)));
  }
  const std::string text = result.out.substr(0, result.out.find('\n'));
  const auto at = text.find(") ");  // "pg_dump (PostgreSQL) 15.18 (Debian …)"
  return at == std::string::npos ? text : text.substr(at + 2);
}

base::ProcessOptions ClientPrograms::command(const std::string& name,
                                             std::vector<std::string> arguments) const {
  base::ProcessOptions options;
  options.argv = {path(name)};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.extra_environment = {"PGAPPNAME=holdfast", "LC_MESSAGES=C"};
  options.max_output_bytes = std::size_t{64} * 1024;
  options.end_with_us = SIGTERM;
  return options;
}

base::ProcessOptions ClientPrograms::command(const std::string& name,
                                             const ClientConnection& connection,
                                             std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), {"-w", "-d", connection.conninfo});
  base::ProcessOptions options = command(name, std::move(arguments));
  options.extra_environment.insert(options.extra_environment.end(), connection.environment.begin(),
                                   connection.environment.end());
  return options;
}

std::string failure_of(const fs::path& program, const base::ProcessResult& result) {
  const std::string words = last_words(result.err);
  const bool killed = result.exit_status > 128;
  return fmt::format("{} {}{}{}", program.filename().string(),
                     killed ? fmt::format("was killed by signal {}", result.exit_status - 128)
                            : fmt::format("failed (exit status {})", result.exit_status),
                     words.empty() ? "" : ": ", words);
}

std::string last_words(const std::string& err) {
  constexpr std::size_t kMost = 1000;
  std::string text = err;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (text.size() > kMost) {
    text.erase(0, text.size() - kMost);
    text.erase(0, text.find('\n') + 1);
  }
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "; ";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace holdfast::postgres
