#include "postgres/private_server.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/file.h"
#include "postgres/client_program.h"
#include "postgres/connection.h"
#include "postgres/server.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;

constexpr std::size_t kLongestSocketPath = 107;  // sockaddr_un
constexpr std::string_view kSocketName = "/.s.PGSQL.5432";
constexpr std::chrono::milliseconds kPollEvery{100};
constexpr std::chrono::seconds kStopDeadline{15};
constexpr std::uint64_t kMaxLogBytes = 64 * 1024 * 1024;
constexpr std::size_t kLogTailBytes = 3000;

std::string quoted(const std::string& value) {
  std::string out = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') out += c;
    out += c;
  }
  return out + "'";
}

bool wait_for(const base::Child& child, std::chrono::milliseconds time) {
  pollfd ended{child.ended_fd(), POLLIN, 0};
  return ::poll(&ended, 1, static_cast<int>(time.count())) > 0;
}

}  // namespace

void PrivateServer::require_short_enough(const fs::path& directory) {
  if (directory.string().size() + kSocketName.size() <= kLongestSocketPath) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("{} is too long a path for a server's socket", directory.string()),
              fmt::format("a shorter `scratch` in the configuration: at most {} bytes",
                          kLongestSocketPath - kSocketName.size() - 24));
}

std::optional<uid_t> PrivateServer::user_for(const fs::path& data) {
  if (::geteuid() != 0) return std::nullopt;
  struct stat status {};
  if (::stat(data.c_str(), &status) != 0) {
    throw base::system_error(errno, fmt::format("cannot read {}", data.string()));
  }
  if (status.st_uid != 0) return status.st_uid;
  throw Error(ErrorKind::kRefused, "PostgreSQL does not run as root",
              "run holdfast as the user that PostgreSQL runs as, or make sure that the cluster's "
              "owner exists here too");
}

PrivateServer::PrivateServer(PrivateServerOptions options)
    : options_(std::move(options)), log_(options_.directory / "server.log") {
  require_short_enough(options_.directory);
  configure();
  start();
}

PrivateServer::~PrivateServer() {
  if (!child_ || has_ended()) return;
  // Its processes leave its group, so it is asked to end them itself (an immediate shutdown); the
  // child's destructor kills what does not obey.
  child_->signal_group(SIGQUIT);
  wait_for(*child_, kStopDeadline);
}

// Without hot standby, recovery does not compare the limits below with the original's, which may
// have been raised since the backup. Those for prepared transactions must hold what is found.
void PrivateServer::configure() const {
  const auto write = [&](const char* name, const std::string& text) {
    const fs::path path = options_.directory / name;
    base::write_file_durably(path, base::as_bytes(text), 0600);
    const std::optional<uid_t> user = user_for(options_.data);
    if (user && ::chown(path.c_str(), *user, static_cast<gid_t>(-1)) != 0) {
      throw base::system_error(errno, fmt::format("cannot give {} its owner", path.string()));
    }
  };
  const auto place = [&](const char* name) { return (options_.directory / name).string(); };
  const std::vector<std::pair<std::string, std::string>> settings = {
      {"listen_addresses", ""},
      {"unix_socket_directories", "\"" + options_.directory.string() + "\""},
      {"unix_socket_permissions", "0700"},
      {"port", "5432"},
      {"hba_file", place("hba.conf")},
      {"ident_file", place("ident.conf")},
      {"external_pid_file", ""},
      {"ssl", "off"},
      {"archive_mode", "off"},
      {"wal_level", "minimal"},
      {"max_wal_senders", "0"},
      {"hot_standby", "off"},
      {"max_connections", "50"},
      {"max_prepared_transactions", "1000"},
      {"max_locks_per_transaction", "512"},
      {"max_worker_processes", "8"},
      {"max_logical_replication_workers", "0"},
      {"shared_preload_libraries", ""},
      {"session_preload_libraries", ""},
      {"local_preload_libraries", ""},
      {"autovacuum", "off"},
      {"jit", "off"},
      {"fsync", "off"},
      {"full_page_writes", "off"},
      {"synchronous_commit", "off"},
      {"max_wal_size", "1GB"},
      {"huge_pages", "off"},
      {"lc_messages", "C"},
      {"logging_collector", "off"},
      {"log_destination", "stderr"},
      {"log_statement", "none"},
      {"log_min_error_statement", "panic"},  // statements hold data
      {"restart_after_crash", "off"},
  };
  std::string text;
  if (options_.major >= 17) text = "event_triggers = off\n";  // a login of ours could fire some
  for (const auto& [name, value] : settings) text += fmt::format("{} = {}\n", name, quoted(value));
  write("server.conf", text);
  write("hba.conf", "local all all trust\n");  // the directory lets nobody else in
  write("ident.conf", "");
  write("server.log", "");
}

void PrivateServer::start() {
  const std::optional<fs::path> programs = server_programs(options_.major);
  if (!programs) {
    throw Error(
        ErrorKind::kFailed,
        fmt::format("the programs of PostgreSQL {} are not on this machine", options_.major),
        fmt::format("install PostgreSQL {}: tables are taken out of a backup with a server "
                    "of its own version",
                    options_.major));
  }
  base::ProcessOptions process;
  process.argv = {(*programs / "postgres").string(), "-D", options_.data.string(), "-c",
                  fmt::format("config_file={}", (options_.directory / "server.conf").string())};
  process.working_directory = options_.data.string();
  process.uid = user_for(options_.data);
  process.end_with_us = SIGQUIT;
  const base::UniqueFd log = base::open_file(log_, O_WRONLY | O_APPEND);
  child_ = std::make_unique<base::Child>(
      process, base::Child::Ends{.in = -1, .out = log.get(), .err = log.get()});
}

bool PrivateServer::has_ended() const { return wait_for(*child_, std::chrono::milliseconds(0)); }

// Whether it lets us in; then a superuser is known too.
bool PrivateServer::answers() {
  std::string unknown;
  for (const std::string& user : options_.users) {
    try {
      superuser_ = user;
      Connection connection(conninfo("template1"));
      superuser_ = connection.value(
          "SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin ORDER BY oid LIMIT 1");
      return true;
    } catch (const Error& error) {
      const bool is_unknown =
          std::string_view(error.what()).find("\" does not exist") != std::string_view::npos;
      if (!is_unknown) return false;
      unknown += (unknown.empty() ? "" : ", ") + user;
    }
  }
  throw Error(ErrorKind::kFailed,
              fmt::format("the backup has no role of any of these names: {}", unknown),
              "give the component's `connection` a user of the cluster");
}

void PrivateServer::wait_until_ready(base::Progress& progress, const std::stop_token& stop) {
  while (!answers()) {
    base::throw_if_stopped(stop);
    if (wait_for(*child_, kPollEvery)) {
      throw Error(ErrorKind::kFailed,
                  fmt::format("the private server stopped; its last words: {}", last_log_lines()),
                  "as for every restore, the user that it runs as must be able to read "
                  "holdfast's configuration, key file and repository");
    }
    tell_progress(progress);
  }
}

std::string PrivateServer::conninfo(const std::string& database) const {
  return conninfo_of({{"host", options_.directory.string()},
                      {"port", "5432"},
                      {"user", superuser_},
                      {"dbname", database},
                      // Before what the environment says.
                      {"sslmode", "disable"},
                      {"channel_binding", "prefer"},
                      {"target_session_attrs", "any"},
                      {"connect_timeout", "30"}});
}

// It is not to be asked while it recovers; its log has a line for every segment.
void PrivateServer::tell_progress(base::Progress& progress) {
  if (options_.segment_bytes == 0) return;
  const base::UniqueFd fd = base::open_file(log_, O_RDONLY);
  base::Bytes buffer(256 * 1024);
  const std::size_t size = base::read_at(fd.get(), log_read_, buffer, log_);
  const std::string_view text(reinterpret_cast<const char*>(buffer.data()), size);
  const std::size_t whole = text.rfind('\n') + 1;  // 0 where there is no line
  constexpr std::string_view kFetched = "restored log file";
  for (std::size_t at = text.find(kFetched); at < whole; at = text.find(kFetched, at + 1)) {
    progress.advance(options_.segment_bytes);
  }
  log_read_ += whole;
}

std::string PrivateServer::last_log_lines() const {
  std::string text = base::read_text_file(log_, kMaxLogBytes);
  if (text.size() > kLogTailBytes) text.erase(0, text.size() - kLogTailBytes);
  return last_words(text);
}

}  // namespace holdfast::postgres
