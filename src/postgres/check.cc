#include "postgres/check.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "base/error.h"
#include "postgres/backup_wal.h"
#include "postgres/cluster.h"
#include "postgres/recovery_window.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using base::Error;

constexpr std::chrono::seconds kArchivingDeadline{20};
constexpr std::chrono::milliseconds kLookEvery{100};
constexpr std::chrono::seconds kClockTolerance{5};

class ClusterCheck {
 public:
  ClusterCheck(const repository::Context* context, const ClusterCheckRequest& request,
               const std::function<void(Finding)>& report)
      : context_(context), request_(request), report_(report) {}

  void run() {
    if (!connect()) return;
    role();
    data_directory();
    rights();
    wal_settings();
    clock();
    page_checksums();
    if (archiving_is_on_ && context_ != nullptr && request_.try_archiving) try_archiving();
    if (context_ != nullptr) recovery_window_is_whole();
  }

 private:
  void good(std::string what, std::string detail) {
    report_({Verdict::kGood, std::move(what), std::move(detail), ""});
  }
  void attention(std::string what, std::string detail, std::string advice) {
    report_({Verdict::kAttention, std::move(what), std::move(detail), std::move(advice)});
  }
  void bad(std::string what, std::string detail, std::string advice) {
    report_({Verdict::kBad, std::move(what), std::move(detail), std::move(advice)});
  }

  bool connect() {
    try {
      connection_.emplace(request_.connection);
      cluster_ = describe_cluster(*connection_);
    } catch (const Error& error) {
      bad("connection", error.what(), error.hint());
      return false;
    }
    good("connection",
         fmt::format("PostgreSQL {}, system identifier {}", cluster_.version, cluster_.system_id));
    return true;
  }

  void role() {
    if (cluster_.in_recovery) {
      bad("role", "the server is a standby", "name its primary in `connection`");
    } else {
      good("role", fmt::format("primary, timeline {}", cluster_.timeline));
    }
  }

  void data_directory() {
    std::vector<std::string> unreadable;
    const auto look = [&](const fs::path& path) {
      if (::access(path.c_str(), R_OK | X_OK) != 0) unreadable.push_back(path.string());
    };
    look(cluster_.data_directory);
    look(fs::path(cluster_.data_directory) / "base");
    for (const Tablespace& tablespace : cluster_.tablespaces) look(tablespace.location);
    if (unreadable.empty()) {
      good("data directory", fmt::format("{} can be read, {} tablespaces", cluster_.data_directory,
                                         cluster_.tablespaces.size()));
      return;
    }
    for (const std::string& path : unreadable) {
      bad("data directory", fmt::format("{} cannot be read", path),
          "run holdfast on the server's host as the user that the server runs as, or as root");
    }
  }

  void rights() {
    const std::string function = cluster_.major() >= 15 ? "pg_backup_start(text,boolean)"
                                                        : "pg_start_backup(text,boolean,boolean)";
    try {
      if (connection_->value("SELECT has_function_privilege($1, 'EXECUTE')", {function}) == "t") {
        good("rights", fmt::format("may call {}", function));
        return;
      }
    } catch (const Error& error) {
      bad("rights", error.what(), "");
      return;
    }
    bad("rights", fmt::format("may not call {}", function),
        "connect as a superuser, or GRANT EXECUTE on the backup functions to the user");
  }

  void wal_settings() {
    if (cluster_.wal_level == "minimal") {
      bad("wal_level", "minimal", "set wal_level = replica and restart PostgreSQL");
    } else {
      good("wal_level", cluster_.wal_level);
    }
    if (cluster_.archive_mode == "off") {
      bad("archive_mode", "off: no moment between backups can be brought back",
          fmt::format("set archive_mode = on and archive_command = '{}', and restart PostgreSQL",
                      request_.archive_command_example));
      return;
    }
    good("archive_mode", cluster_.archive_mode);
    archive_command();
    archiver();
  }

  void archive_command() {
    if (!cluster_.archive_library.empty()) {
      attention(
          "archive_library", cluster_.archive_library,
          fmt::format("it goes before archive_command: empty it and set archive_command = '{}'",
                      request_.archive_command_example));
      return;
    }
    const std::string& command = cluster_.archive_command;
    if (command.find("wal push") == std::string::npos) {
      bad("archive_command", command.empty() ? "not set" : command,
          fmt::format("set archive_command = '{}' and reload PostgreSQL",
                      request_.archive_command_example));
      return;
    }
    good("archive_command", command);
    archiving_is_on_ = true;
  }

  void archiver() {
    const std::vector<std::string> warnings = archiving_warnings(*connection_, cluster_);
    for (const std::string& warning : warnings) {
      bad("archiver", warning, "the server's log says what the command printed");
    }
    if (warnings.empty()) good("archiver", "no failure since its last success");
  }

  void clock() {
    const auto server = base::Time(std::chrono::microseconds(std::stoll(
        connection_->value("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"))));
    const base::Duration apart = std::chrono::abs(server - base::SystemClock().now());
    if (apart > kClockTolerance) {
      attention("clock",
                fmt::format("the server's clock is {} apart from this machine's",
                            base::format_duration(apart)),
                "keep both in step (NTP): moments to restore to are the server's");
    } else {
      good("clock", "in step with the server's");
    }
  }

  void page_checksums() {
    good("page checksums", cluster_.checksums
                               ? "on: every page is checked as it is read"
                               : "off: damaged pages cannot be told (pg_checksums --enable)");
  }

  // The proof: a segment is closed, and it arrives.
  void try_archiving() {
    std::string segment;
    try {
      segment =
          connection_->value("SELECT pg_walfile_name(pg_create_restore_point('holdfast check'))");
      connection_->value("SELECT pg_switch_wal()");
    } catch (const Error& error) {
      attention("archiving", fmt::format("could not be tried: {}", error.what()),
                "GRANT EXECUTE on pg_create_restore_point and pg_switch_wal to the user");
      return;
    }
    const std::string object = wal_object_name(cluster_.system_id, segment);
    const auto deadline = std::chrono::steady_clock::now() + kArchivingDeadline;
    while (std::chrono::steady_clock::now() < deadline) {
      if (context_->storage.stat(object)) {
        good("archiving", fmt::format("{} was closed and has arrived", segment));
        return;
      }
      std::this_thread::sleep_for(kLookEvery);
    }
    bad("archiving",
        fmt::format("{} was closed and has not arrived within {} s", segment,
                    kArchivingDeadline.count()),
        "run archive_command by hand as the server's user on a file of pg_wal, and look into the "
        "server's log");
  }

  void recovery_window_is_whole() {
    const repository::Catalog catalog = repository::list_backups(*context_, request_.component);
    if (catalog.backups.empty()) {
      attention("recovery window", "there is no backup yet",
                fmt::format("'holdfast backup {}' takes one", request_.component));
      return;
    }
    const RecoveryWindow window = recovery_window(*context_, catalog.backups);
    if (window.continuous) {
      good("recovery window", describe(window));
    } else {
      bad("recovery window", "the WAL behind the newest backup is not whole",
          "take a new backup, and see 'holdfast wal list'");
    }
  }

  const repository::Context* context_;
  const ClusterCheckRequest& request_;
  const std::function<void(Finding)>& report_;
  std::optional<Connection> connection_;
  ClusterInfo cluster_;
  bool archiving_is_on_ = false;
};

}  // namespace

void check_cluster(const repository::Context* context, const ClusterCheckRequest& request,
                   const std::function<void(Finding)>& report) {
  try {
    ClusterCheck(context, request, report).run();
  } catch (const Error& error) {
    report({Verdict::kBad, "check", error.what(), error.hint()});
  }
}

}  // namespace holdfast::postgres
