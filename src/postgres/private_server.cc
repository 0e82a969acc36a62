#include "postgres/private_server.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/piped_process.h"
#include "postgres/client_program.h"
#include "postgres/connection.h"
#include "postgres/conninfo.h"
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
// A server that is about to end refuses connections too, in many words.
constexpr std::chrono::seconds kEndAfterRefusal{2};
constexpr std::size_t kLogTailBytes = 3000;
constexpr const char* kOurRole = "holdfast_private";
// What databases and roles have set is not for us; a library to load may not even be here.
constexpr const char* kForgetSettings = "DELETE FROM pg_catalog.pg_db_role_setting";

std::string quoted(const std::string& value) {
  std::string out = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') out += c;
    out += c;
  }
  return out + "'";
}

// Whether the server is this one: nothing is to be done to any other.
void require_ours(Connection& connection, const fs::path& data) {
  const std::vector<Row> rows = connection.query(
      "SELECT current_setting('data_directory', true), inet_server_addr() IS NULL");
  std::error_code elsewhere;
  if (rows.at(0).at(1) == "t" && rows[0][0] && fs::equivalent(*rows[0][0], data, elsewhere)) return;
  throw Error(ErrorKind::kRefused,
              "the connection that was to lead to the private server led to another one",
              "nothing was changed there; a service file or variable of libpq's may be the cause");
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
void PrivateServer::configure() {
  const std::optional<uid_t> user = user_for(options_.data);
  // By its descriptor: its owner, to whom the directory belongs, may put something in its place.
  const auto write = [&](const char* name, const std::string& text) {
    const fs::path path = options_.directory / name;
    base::UniqueFd fd =
        base::open_file(path, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    base::write_all(fd.get(), base::as_bytes(text), path);
    if (user && ::fchown(fd.get(), *user, static_cast<gid_t>(-1)) != 0) {
      throw base::system_error(errno, fmt::format("cannot give {} its owner", path.string()));
    }
    return fd;
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
  log_fd_ = write("server.log", "");
}

base::ProcessOptions PrivateServer::program() const {
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
  process.argv = {(*programs / "postgres").string()};
  process.working_directory = options_.data.string();
  process.uid = user_for(options_.data);
  process.end_with_us = SIGQUIT;
  return process;
}

std::vector<std::string> PrivateServer::arguments() const {
  return {"-D", options_.data.string(), "-c",
          fmt::format("config_file={}", (options_.directory / "server.conf").string())};
}

void PrivateServer::start() {
  base::ProcessOptions process = program();
  for (std::string& argument : arguments()) process.argv.push_back(std::move(argument));
  child_ = std::make_unique<base::Child>(
      process, base::Child::Ends{.in = -1, .out = log_fd_.get(), .err = log_fd_.get()});
}

bool PrivateServer::has_ended() const { return wait_for(*child_, std::chrono::milliseconds(0)); }

bool PrivateServer::accepts_connections() const {
  const std::string path = options_.directory.string() + std::string(kSocketName);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, kLongestSocketPath);
  const base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

// Whether it lets us in; then a superuser is known too.
PrivateServer::Answer PrivateServer::answer() {
  if (!accepts_connections()) return Answer::kNotYet;
  refusals_.clear();
  for (const std::string& user : options_.users) {
    for (const std::string& database : options_.databases) {
      const Answer answer = ask(user, database);
      if (answer != Answer::kNo) return answer;
    }
  }
  return Answer::kNo;
}

PrivateServer::Answer PrivateServer::ask(const std::string& user, const std::string& database) {
  std::optional<Connection> connection;
  try {
    connection.emplace(conninfo_for(user, database));
  } catch (const Error& error) {
    refusals_ = error.what();
    // So begin all the words of 57P03 (cannot_connect_now); its messages are in English.
    return refusals_.find("the database system is ") != std::string::npos ? Answer::kNotYet
                                                                          : Answer::kNo;
  }
  const std::vector<Row> rows = connection->query(
      "SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin ORDER BY oid LIMIT 1");
  if (rows.empty()) {
    refusals_ = "it has no superuser who may log in";
    return Answer::kNo;
  }
  superuser_ = rows[0][0].value();
  Connection as_superuser(conninfo(database));
  require_ours(as_superuser, options_.data);
  as_superuser.query(kForgetSettings);
  return Answer::kYes;
}

void PrivateServer::wait_until_ready(base::Progress& progress, const std::stop_token& stop) {
  bool has_our_role = false;
  for (Answer answered = answer(); answered != Answer::kYes; answered = answer()) {
    base::throw_if_stopped(stop);
    if (wait_for(*child_, answered == Answer::kNo ? kEndAfterRefusal : kPollEvery)) throw_end();
    tell_progress(progress);
    if (answered == Answer::kNotYet) continue;
    if (has_our_role) {
      throw Error(ErrorKind::kFailed,
                  fmt::format("the private server lets nobody in: {}", refusals_));
    }
    make_superuser(stop);
    has_our_role = true;
  }
}

// None of the users exists, or none may log in. A server in single-user mode asks for neither.
void PrivateServer::make_superuser(const std::stop_token& stop) {
  child_->signal_group(SIGINT);
  while (!wait_for(*child_, kPollEvery)) base::throw_if_stopped(stop);
  child_.reset();
  for (const std::string& database : options_.databases) {
    base::ProcessOptions process = program();
    process.argv.emplace_back("--single");
    for (std::string& argument : arguments()) process.argv.push_back(std::move(argument));
    process.argv.push_back(database);
    base::PipedProcess single(process, {.input = true, .output = false});
    const std::string command =
        fmt::format("CREATE ROLE {} SUPERUSER LOGIN\n{}\n", kOurRole, kForgetSettings);
    const bool taken = single.write(base::as_bytes(command), stop);
    single.close_input();
    if (single.wait(stop).exit_status == 0 && taken) break;
  }
  options_.users = {kOurRole};
  start();
}

void PrivateServer::throw_end() {
  const int status = child_->reap();
  const std::string words = last_log_lines();
  throw Error(
      ErrorKind::kFailed,
      fmt::format("the private server {}{}",
                  status > 128 ? fmt::format("was ended by signal {}", status - 128) : "stopped",
                  words.empty() ? "" : "; its last words: " + words),
      "as for every restore, the user that it runs as must be able to read "
      "holdfast's configuration, key file and repository");
}

std::string PrivateServer::conninfo(const std::string& database) const {
  return conninfo_for(superuser_, database);
}

std::string PrivateServer::conninfo_for(const std::string& user,
                                        const std::string& database) const {
  return conninfo_of({{"host", options_.directory.string()},
                      {"port", "5432"},
                      {"user", user},
                      {"dbname", database},
                      // Before what the environment and service files say.
                      {"hostaddr", ""},
                      {"requirepeer", ""},
                      {"gssencmode", "disable"},
                      {"sslmode", "disable"},
                      {"channel_binding", "prefer"},
                      {"target_session_attrs", "any"},
                      {"connect_timeout", "30"}});
}

// It is not to be asked while it recovers; its log has a line for every segment.
void PrivateServer::tell_progress(base::Progress& progress) {
  if (options_.segment_bytes == 0) return;
  base::Bytes buffer(256 * 1024);
  const std::size_t size = base::read_at(log_fd_.get(), log_read_, buffer, log_);
  const std::string_view text(reinterpret_cast<const char*>(buffer.data()), size);
  const std::size_t whole = text.rfind('\n') + 1;  // 0 where there is no line
  constexpr std::string_view kFetched = "restored log file";
  for (std::size_t at = text.find(kFetched); at < whole; at = text.find(kFetched, at + 1)) {
    progress.advance(options_.segment_bytes);
  }
  log_read_ += whole;
}

std::string PrivateServer::last_log_lines() const {
  struct stat status {};
  if (::fstat(log_fd_.get(), &status) != 0) return {};
  const auto size = static_cast<std::uint64_t>(status.st_size);
  base::Bytes tail(std::min<std::uint64_t>(size, kLogTailBytes));
  tail.resize(base::read_at(log_fd_.get(), size - tail.size(), tail, log_));
  return last_words(std::string(base::as_text(tail)));
}

}  // namespace holdfast::postgres
