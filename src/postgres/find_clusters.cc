#include "postgres/find_clusters.h"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/file.h"
#include "postgres/running_server.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using base::Error;

constexpr std::size_t kMaxFile = 1024 * 1024;
constexpr std::string_view kSocketPrefix = ".s.PGSQL.";

// Empty where it is not there or may not be read.
std::string text_of(const fs::path& path) {
  try {
    return base::read_text_file(path, kMaxFile);
  } catch (const Error&) {
    return {};
  }
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

int number_of(std::string_view text) {
  int value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  return problem == std::errc{} && end == text.data() + text.size() ? value : 0;
}

std::vector<fs::path> entries_of(const fs::path& directory) {
  std::vector<fs::path> entries;
  std::error_code problem;
  for (fs::directory_iterator at(directory, problem), end; !problem && at != end;
       at.increment(problem)) {
    entries.push_back(at->path());
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

// What a line `name = 'value'  # comment` of postgresql.conf gives; the last one counts.
std::string setting_of(const std::string& text, std::string_view name) {
  std::string value;
  for (const std::string& whole : split(text, '\n')) {
    std::string_view line = whole;
    const auto skip = [&](std::string_view what) {
      line.remove_prefix(std::min(line.find_first_not_of(what), line.size()));
    };
    skip(" \t");
    if (!line.starts_with(name)) continue;
    line.remove_prefix(name.size());
    if (line.find_first_of(" \t=") != 0) continue;
    skip(" \t=");
    const bool quoted = line.starts_with('\'');
    if (quoted) line.remove_prefix(1);
    value = line.substr(0, line.find_first_of(quoted ? "'" : " \t#\r"));
  }
  return value;
}

class Search {
 public:
  explicit Search(const fs::path& root) : root_(root) {}

  std::vector<FoundCluster> run() {
    for (const fs::path& process : entries_of(root_ / "proc")) look_at_process(process);
    for (const char* directory : {"var/run/postgresql", "tmp"}) look_for_sockets(directory);
    for (const fs::path& version : entries_of(root_ / "etc/postgresql")) {
      for (const fs::path& cluster : entries_of(version)) look_at_configuration(cluster);
    }
    std::stable_sort(found_.begin(), found_.end(),
                     [](const auto& a, const auto& b) { return a.runs && !b.runs; });
    return std::move(found_);
  }

 private:
  fs::path inside(const fs::path& path) const { return root_ / path.relative_path(); }

  // As the machine below the root names it.
  fs::path as_seen(const fs::path& path) const {
    const fs::path relative = path.lexically_relative(root_);
    return relative.empty() || *relative.begin() == ".." ? path : "/" / relative;
  }

  // Of a server only its first process stands for it; the others call themselves "postgres: …".
  void look_at_process(const fs::path& process) {
    if (number_of(process.filename().string()) == 0) return;
    const std::string name = text_of(process / "comm");
    if (name != "postgres\n" && name != "postmaster\n") return;
    const std::vector<std::string> words = split(text_of(process / "cmdline"), '\0');
    if (words.empty() || words.front().starts_with("postgres:")) return;

    FoundCluster cluster;
    cluster.runs = true;
    for (std::size_t i = 1; i < words.size(); ++i) take_option(words, i, cluster);
    std::error_code problem;
    const fs::path directory = fs::read_symlink(process / "cwd", problem);
    if (!problem) cluster.data_directory = as_seen(directory);
    struct stat status {};
    if (::stat(process.c_str(), &status) == 0) cluster.owner = status.st_uid;
    read_lock_file(inside(cluster.data_directory) / "postmaster.pid", cluster);
    if (cluster.config_file.empty() && !cluster.data_directory.empty()) {
      cluster.config_file = cluster.data_directory / "postgresql.conf";
    }
    found_.push_back(std::move(cluster));
  }

  static void take_option(const std::vector<std::string>& words, std::size_t i,
                          FoundCluster& cluster) {
    const auto value = [&](std::string_view option) -> std::string {
      const std::string& word = words[i];
      if (!word.starts_with(option)) return {};
      if (word.size() > option.size()) return word.substr(option.size());
      return i + 1 < words.size() ? words[i + 1] : "";
    };
    constexpr std::string_view kConfigFile = "config_file=";
    if (const std::string given = value("-D"); !given.empty()) cluster.data_directory = given;
    if (const std::string given = value("-p"); !given.empty()) cluster.port = number_of(given);
    if (const std::string given = value("-k"); !given.empty()) cluster.host = given;
    if (const std::string given = value("-c"); given.starts_with(kConfigFile)) {
      cluster.config_file = given.substr(kConfigFile.size());
    }
  }

  // Its lines: process, data directory, start, port, a socket's directory, an address
  // (AddToDataDirLockFile()).
  static void read_lock_file(const fs::path& file, FoundCluster& cluster) {
    const std::vector<std::string> lines = split(text_of(file), '\n');
    if (lines.size() < 5) return;
    cluster.port = number_of(lines[3]);
    if (cluster.data_directory.empty()) cluster.data_directory = lines[1];
    if (!lines[4].empty()) {
      cluster.host = lines[4];
    } else if (lines.size() > 5) {
      cluster.host = lines[5] == "*" ? "localhost" : lines[5];
    }
  }

  void look_for_sockets(const fs::path& directory) {
    for (const fs::path& path : entries_of(root_ / directory)) {
      const std::string name = path.filename().string();
      if (!name.starts_with(kSocketPrefix)) continue;
      const int port = number_of(std::string_view(name).substr(kSocketPrefix.size()));
      if (port != 0) take_socket(path, port);
    }
  }

  void take_socket(const fs::path& path, int port) {
    const fs::path lock_file = path.string() + ".lock";
    try {
      if (!living_holder(lock_file)) return;  // left by a server that is gone
    } catch (const Error&) {
      // It may not be read: a server of another user.
    }
    FoundCluster cluster{.data_directory = {},
                         .host = as_seen(path).parent_path().string(),
                         .port = port,
                         .runs = true};
    read_lock_file(lock_file, cluster);
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0) cluster.owner = status.st_uid;
    for (FoundCluster& known : found_) {
      if (known.port == 0 && (known.data_directory.empty() || cluster.data_directory.empty() ||
                              known.data_directory == cluster.data_directory)) {
        known.port = port;  // its process was seen, and its lock file not
        known.host = cluster.host;
      }
      if (known.port == port && is_same_server(known, cluster)) return;
    }
    found_.push_back(std::move(cluster));
  }

  bool is_same_server(const FoundCluster& a, const FoundCluster& b) const {
    if (!a.data_directory.empty() && a.data_directory == b.data_directory) return true;
    std::error_code problem;  // /var/run is a link to /run
    return a.host == b.host || fs::equivalent(inside(a.host), inside(b.host), problem);
  }

  // /etc/postgresql/15/main, as Debian's tools make it.
  void look_at_configuration(const fs::path& directory) {
    const fs::path file = directory / "postgresql.conf";
    const std::string text = text_of(file);
    if (text.empty()) return;
    const std::string name = fmt::format("{}/{}", directory.parent_path().filename().string(),
                                         directory.filename().string());
    const fs::path data = setting_of(text, "data_directory");
    const int port = number_of(setting_of(text, "port"));
    for (FoundCluster& known : found_) {
      if (data.empty() ||
          (known.data_directory.empty() ? known.port != port : known.data_directory != data)) {
        continue;
      }
      known.debian_name = name;
      known.data_directory = data;
      known.config_file = as_seen(file);
      return;
    }
    const std::string sockets = setting_of(text, "unix_socket_directories");
    found_.push_back({.debian_name = name,
                      .data_directory = data,
                      .config_file = as_seen(file),
                      .host = sockets.substr(0, sockets.find(',')),
                      .port = port == 0 ? 5432 : port});
    struct stat status {};
    if (::stat(inside(data).c_str(), &status) == 0) found_.back().owner = status.st_uid;
  }

  fs::path root_;
  std::vector<FoundCluster> found_;
};

// Acts as another user while it lives, where this is root.
class ActAs {
 public:
  explicit ActAs(std::optional<uid_t> user)
      : changed_(user && ::geteuid() == 0 && *user != 0 && ::seteuid(*user) == 0) {}
  ~ActAs() {
    if (changed_ && ::seteuid(0) != 0) std::terminate();  // cannot be: the real user is root
  }
  ActAs(const ActAs&) = delete;
  ActAs& operator=(const ActAs&) = delete;

 private:
  bool changed_;
};

std::string quote(const std::string& value) {
  if (!value.empty() && value.find_first_of(" '\\") == std::string::npos) return value;
  std::string quoted = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "'";
}

// Who may be the superuser: initdb gives it the name of who ran it, and Debian's is postgres.
std::vector<std::string> likely_users(const FoundCluster& cluster) {
  std::vector<std::string> users = {"postgres"};
  const passwd* owner = cluster.owner ? ::getpwuid(*cluster.owner) : nullptr;
  if (owner != nullptr && users.front() != owner->pw_name) users.emplace_back(owner->pw_name);
  return users;
}

}  // namespace

std::vector<FoundCluster> find_clusters(const fs::path& root) { return Search(root).run(); }

AskedCluster ask_cluster(const FoundCluster& cluster) {
  AskedCluster asked;
  for (const std::string& user : likely_users(cluster)) {
    const std::string connection =
        fmt::format("host={} port={} user={} dbname=postgres",
                    quote(cluster.host.empty() ? "localhost" : cluster.host),
                    cluster.port == 0 ? 5432 : cluster.port, quote(user));
    if (asked.connection.empty()) asked.connection = connection;
    if (!cluster.runs) return asked;
    try {
      const ActAs owner(cluster.owner);
      Connection server(connection + " connect_timeout=3");
      asked.info = describe_cluster(server);
      asked.connection = connection;
      asked.problem.clear();
      return asked;
    } catch (const Error& error) {
      if (asked.problem.empty()) asked.problem = error.what();
    }
  }
  return asked;
}

}  // namespace holdfast::postgres
