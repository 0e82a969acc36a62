#include "postgres/server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <thread>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "postgres/client_environment.h"
#include "postgres/running_server.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;
using base::ProcessOptions;
using base::ProcessResult;

constexpr std::chrono::milliseconds kPollEvery{200};
// The server writes its postmaster.pid within milliseconds; behind this it has failed before.
constexpr std::chrono::seconds kStartDeadline{15};
constexpr std::size_t kLogTailBytes = 4096;

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.pop_back();
  }
  return text;
}

bool can_bind(std::uint16_t port) {
  const base::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

std::uint16_t free_port() {
  const base::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    throw base::system_error(errno, "cannot find a free port");
  }
  return ntohs(address.sin_port);
}

// A restored server and the user whom it runs as.
class Server {
 public:
  Server(fs::path data_directory, const RestorePlan& plan, std::stop_token stop)
      : data_directory_(std::move(data_directory)),
        plan_(plan),
        stop_(std::move(stop)),
        log_(data_directory_ / "holdfast-start.log") {
    const int major = plan.details.version_num / 10000;
    const std::optional<fs::path> programs = server_programs(major);
    if (!programs) {
      throw Error(ErrorKind::kFailed,
                  fmt::format("the programs of PostgreSQL {} are not on this machine", major),
                  fmt::format("the restore is complete; install PostgreSQL {} and start {}", major,
                              data_directory_.string()));
    }
    programs_ = *programs;
    find_owner();
    settle_configuration();
  }

  void start() {
    settle_port();
    // The copy would write its process id where the original's configuration says, over the
    // original's.
    std::string options = fmt::format("-p {} -c external_pid_file=", port_);
    for (const std::string& option : configuration_) options += " " + option;
    const ProcessResult result =
        run({(programs_ / "pg_ctl").string(), "start", "-W", "-s", "-D", data_directory_.string(),
             "-l", log_.string(), "-o", options});
    if (result.exit_status != 0) throw failed(trimmed(result.err));
  }

  ReachedPoint wait(base::Progress& progress) {
    progress.phase("recovering", 0);
    const auto deadline = std::chrono::steady_clock::now() + kStartDeadline;
    bool was_running = false;
    for (;;) {
      base::throw_if_stopped(stop_);
      const std::optional<std::string> state = query(
          "SELECT CASE WHEN NOT pg_is_in_recovery() THEN 'done' "
          "WHEN pg_is_wal_replay_paused() THEN 'paused' ELSE 'replaying' END");
      if (state == "done" || (state == "paused" && plan_.target.action == "pause")) {
        return reached();
      }
      const bool running = living_holder(data_directory_ / "postmaster.pid").has_value();
      was_running = was_running || running;
      if (!running && (was_running || std::chrono::steady_clock::now() > deadline)) {
        return after_stop();
      }
      std::this_thread::sleep_for(kPollEvery);
    }
  }

 private:
  void find_owner() {
    struct stat status {};
    if (::stat(data_directory_.c_str(), &status) != 0) {
      throw base::system_error(errno, fmt::format("cannot read {}", data_directory_.string()));
    }
    if (const passwd* entry = ::getpwuid(status.st_uid)) user_ = entry->pw_name;
    if (::geteuid() == 0) uid_ = status.st_uid;
    if (uid_ == 0) {
      throw Error(ErrorKind::kRefused, "PostgreSQL does not run as root",
                  fmt::format("the restore is complete: give {} to the user that PostgreSQL runs "
                              "as, and start it",
                              data_directory_.string()));
    }
  }

  // Where the configuration stands beside the data (as on Debian), the server is told so.
  void settle_configuration() {
    if (fs::exists(data_directory_ / "postgresql.conf")) return;
    if (!fs::exists(plan_.details.config_file)) {
      throw Error(ErrorKind::kFailed,
                  fmt::format("{} holds no postgresql.conf, and {} is not on this machine",
                              data_directory_.string(), plan_.details.config_file),
                  "the restore is complete: provide a configuration and start the server");
    }
    configuration_ = {fmt::format("-c config_file={}", plan_.details.config_file),
                      fmt::format("-c data_directory={}", data_directory_.string())};
  }

  std::string configured(const std::string& name) {
    std::vector<std::string> argv = {(programs_ / "postgres").string(), "-C", name, "-D",
                                     data_directory_.string()};
    for (const std::string& option : configuration_) {
      argv.push_back("-c");
      argv.push_back(option.substr(3));
    }
    const ProcessResult result = run(argv);
    if (result.exit_status != 0) throw failed(trimmed(result.err));
    return trimmed(result.out);
  }

  // The configured port, or a free one where another server has it.
  void settle_port() {
    const std::string port = configured("port");
    std::from_chars(port.data(), port.data() + port.size(), port_);
    host_ = configured("unix_socket_directories");
    host_ = trimmed(host_.substr(0, host_.find(',')));
    if (host_.empty()) host_ = "127.0.0.1";
    // A server that was killed leaves its lock file; the next one on this port removes it.
    const bool socket_taken =
        host_.starts_with('/') &&
        living_holder(fs::path(host_) / fmt::format(".s.PGSQL.{}.lock", port_));
    if (socket_taken || !can_bind(port_)) port_ = free_port();
  }

  ProcessResult run(std::vector<std::string> argv) const {
    ProcessOptions options;
    options.argv = std::move(argv);
    options.working_directory = data_directory_.string();
    if (uid_ != 0) options.uid = uid_;
    return base::run_process(options, stop_);
  }

  // Through psql as the server's own user, whom the usual pg_hba.conf lets in. Nullopt: no answer.
  // No variable of libpq's may lead it to another server.
  std::optional<std::string> query(const std::string& sql) const {
    const WithoutClientEnvironment none;
    const ProcessResult result =
        run({(programs_ / "psql").string(), "-X", "-A", "-t", "-q", "-w", "-h", host_, "-p",
             std::to_string(port_), "-U", user_, "-d", "postgres", "-c", sql});
    if (result.exit_status != 0) return std::nullopt;
    return trimmed(result.out);
  }

  ReachedPoint reached() const {
    ReachedPoint point;
    point.server = fmt::format("host={} port={}", host_, port_);
    const std::optional<std::string> row = query(
        "SELECT pg_last_wal_replay_lsn(), "
        "to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')");
    if (!row) return point;
    const auto bar = row->find('|');
    point.lsn = parse_lsn(row->substr(0, bar)).value_or(0);
    if (bar != std::string::npos) point.time = base::parse_time(row->substr(bar + 1), {});
    return point;
  }

  // The server has ended: as asked, or because it could not go on.
  ReachedPoint after_stop() const {
    const ProcessResult control =
        run({(programs_ / "pg_controldata").string(), "-D", data_directory_.string()});
    if (plan_.target.action != "shutdown" ||
        control.out.find("shut down in recovery") == std::string::npos) {
      throw failed("it stopped");
    }
    ReachedPoint point;
    constexpr std::string_view kReached = "Minimum recovery ending location:";
    if (const auto at = control.out.find(kReached); at != std::string::npos) {
      const auto begin = control.out.find_first_not_of(' ', at + kReached.size());
      point.lsn =
          parse_lsn(control.out.substr(begin, control.out.find('\n', begin) - begin)).value_or(0);
    }
    return point;
  }

  Error failed(const std::string& how) const {
    std::string tail;
    if (fs::exists(log_)) {
      tail = base::read_text_file(log_, 64 * 1024 * 1024);
      if (tail.size() > kLogTailBytes) tail = tail.substr(tail.size() - kLogTailBytes);
    }
    return Error(
        ErrorKind::kFailed,
        fmt::format("the restored server did not reach its target: {}\n{}", how, trimmed(tail)),
        fmt::format("the restored files are in {}; the server's log is {}",
                    data_directory_.string(), log_.string()));
  }

  fs::path data_directory_;
  const RestorePlan& plan_;
  std::stop_token stop_;
  fs::path log_;
  fs::path programs_;
  std::vector<std::string> configuration_;
  std::string user_;
  uid_t uid_ = ::geteuid();
  std::string host_;
  std::uint16_t port_ = 5432;
};

}  // namespace

std::optional<fs::path> server_programs(int major) {
  const fs::path debian = fmt::format("/usr/lib/postgresql/{}/bin", major);
  if (fs::exists(debian / "pg_ctl")) return debian;
  try {
    ProcessOptions options;
    options.argv = {"pg_config", "--bindir", "--version"};
    const ProcessResult result = base::run_process(options);
    const std::string wanted = fmt::format("PostgreSQL {}.", major);
    if (result.exit_status == 0 && result.out.find(wanted) != std::string::npos) {
      const fs::path directory = result.out.substr(0, result.out.find('\n'));
      if (fs::exists(directory / "pg_ctl")) return directory;
    }
  } catch (const Error&) {
    return std::nullopt;  // no pg_config here
  }
  return std::nullopt;
}

ReachedPoint start_and_wait(const fs::path& data_directory, const RestorePlan& plan,
                            base::Progress& progress, std::stop_token stop) {
  Server server(data_directory, plan, std::move(stop));
  server.start();
  return server.wait(progress);
}

}  // namespace holdfast::postgres
