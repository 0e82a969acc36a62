#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/restore_command.h"
#include "cli/session.h"
#include "stack/proposal.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;
using nlohmann::json;

class SetupRun {
 public:
  explicit SetupRun(Session& session) : session_(session) {
    const auto& given = session.arguments().positional;
    std::error_code problem;
    const std::string directory = given.empty() ? "." : given.front();
    directory_ = fs::canonical(directory, problem);
    if (problem || !fs::is_directory(directory_)) {
      throw Error(ErrorKind::kUsage, fmt::format("there is no directory {}", directory));
    }
    file_ = directory_ / "holdfast.yaml";
    print_only_ = session.arguments().has("--print");
    if (!print_only_ && fs::exists(fs::symlink_status(file_))) refuse();
  }

  int run() {
    machine_ = stack::look_at_machine({.directory = directory_});
    find_server_user();
    const stack::ProposalPaths paths = choose_paths();
    const std::string text = stack::propose_configuration(machine_, paths);
    const auto changes = stack::postgres_changes(machine_, [&](const std::string& component) {
      return archive_command_of(file_, component);
    });
    if (print_only_ && !session_.json()) {
      fmt::print(session_.out(), "{}", text);
      return kDone;
    }
    if (!print_only_) write(text);
    const std::vector<std::string> next = next_commands(paths);
    tell(changes, next);
    if (session_.json()) session_.print_json(document(text, changes, next));
    return kDone;
  }

 private:
  [[noreturn]] void refuse() const {
    throw Error(ErrorKind::kRefused, fmt::format("{} exists already", file_.string()),
                "`holdfast setup --print` prints a new one to compare it with");
  }

  // Whom the servers run as: it archives WAL with this configuration, so it must read it.
  void find_server_user() {
    for (const stack::FoundPostgres& found : machine_.postgres) {
      if (!found.cluster.runs || !found.cluster.owner || *found.cluster.owner == 0) continue;
      if (::geteuid() != 0) return;
      if (const passwd* user = ::getpwuid(*found.cluster.owner)) {
        user_ = user->pw_name;
        group_ = user->pw_gid;
      }
      return;
    }
  }

  stack::ProposalPaths choose_paths() const {
    if (::geteuid() == 0) return {"/var/backups/holdfast", "/etc/holdfast/holdfast.key"};
    return {directory_ / "holdfast-repository", directory_ / "holdfast.key"};
  }

  void write(const std::string& text) const {
    if (!base::create_file_durably(file_, base::as_bytes(text), 0640)) refuse();
    if (!user_.empty() && ::chown(file_.c_str(), static_cast<uid_t>(-1), group_) != 0) {
      throw base::system_error(errno,
                               fmt::format("giving {} to the group of {}", file_.string(), user_));
    }
  }

  std::vector<std::string> next_commands(const stack::ProposalPaths& paths) const {
    std::vector<std::string> commands;
    if (!user_.empty()) {
      commands.push_back(fmt::format("install -d -o {0} -g {0} -m 700 {1} {2}", user_,
                                     paths.repository.string(),
                                     paths.key_file.parent_path().string()));
    }
    for (const char* command : {"init", "check", "backup"}) {
      commands.push_back(fmt::format("{}holdfast -c {} {}",
                                     user_.empty() ? "" : fmt::format("sudo -u {} ", user_),
                                     quote_for_shell(file_.string()), command));
    }
    return commands;
  }

  void tell(const std::vector<stack::PostgresChange>& changes,
            const std::vector<std::string>& next) {
    for (const stack::FoundPostgres& found : machine_.postgres) {
      session_.print(fmt::format(
          "found PostgreSQL{} in {}{}", found.asked.info ? " " + found.asked.info->version : "",
          found.cluster.data_directory.string(), found.cluster.runs ? "" : " (not running)"));
    }
    for (const stack::FoundRedis& found : machine_.redis) {
      session_.print(fmt::format("found Redis at {}", found.url));
    }
    for (const std::string& name : machine_.config) session_.print("found " + name);
    if (!machine_.secrets.empty()) {
      session_.print(
          fmt::format("found files that hold secrets (patterns: {})", machine_.secrets.size()));
    }
    session_.print(fmt::format("\nwrote {}: read it through, and change what does not fit. Then:\n",
                               file_.string()));
    const std::size_t before_check = next.size() - 2;
    for (std::size_t i = 0; i < before_check; ++i) session_.print("    " + next[i]);
    for (const stack::PostgresChange& change : changes) tell_of(change);
    for (std::size_t i = before_check; i < next.size(); ++i) session_.print("    " + next[i]);
  }

  void tell_of(const stack::PostgresChange& change) {
    if (!change.unknown.empty()) {
      session_.print(
          fmt::format("\nThe server of {} could not be asked ({}). See that these lines "
                      "stand in its postgresql.conf:\n",
                      change.cluster, change.unknown));
    } else {
      session_.print(fmt::format("\nChange these lines in {}, and {} that server:\n",
                                 change.file.empty() ? "postgresql.conf" : change.file,
                                 change.restart ? "restart" : "reload"));
    }
    for (const std::string& line : change.lines) session_.print("    " + line);
    session_.print("");
  }

  json document(const std::string& text, const std::vector<stack::PostgresChange>& changes,
                const std::vector<std::string>& next) const {
    json conf = json::array();
    for (const stack::PostgresChange& change : changes) {
      conf.push_back({{"cluster", change.cluster},
                      {"file", change.file.empty() ? json(nullptr) : json(change.file)},
                      {"lines", change.lines},
                      {"restart", change.restart},
                      {"asked", change.unknown.empty()}});
    }
    json result = {{"file", print_only_ ? json(nullptr) : json(file_.string())},
                   {"found", found()},
                   {"postgresql_conf", conf},
                   {"next", next}};
    if (print_only_) result["text"] = text;
    return result;
  }

  json found() const {
    const auto names = stack::postgres_names(machine_);
    json clusters = json::array();
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto& [cluster, asked] = machine_.postgres[i];
      clusters.push_back({{"component", names[i].empty() ? json(nullptr) : json(names[i])},
                          {"data_directory", cluster.data_directory.string()},
                          {"connection", asked.connection},
                          {"running", cluster.runs},
                          {"version", asked.info ? json(asked.info->version) : json(nullptr)}});
    }
    json redis = json::array();
    for (const stack::FoundRedis& each : machine_.redis) {
      redis.push_back({{"url", each.url}, {"running", each.runs}, {"password", each.has_password}});
    }
    json logs = json::array();
    for (const fs::path& each : machine_.logs) logs.push_back(each.string());
    return {{"postgresql", clusters},
            {"redis", redis},
            {"config", machine_.config},
            {"logs", logs},
            {"secrets", machine_.secrets}};
  }

  Session& session_;
  fs::path directory_;
  fs::path file_;
  bool print_only_ = false;
  stack::Machine machine_;
  std::string user_;  // of the servers, where this is root; empty: holdfast runs as who called this
  gid_t group_ = 0;
};

}  // namespace

int run_setup(Session& session) { return SetupRun(session).run(); }

}  // namespace holdfast::cli
