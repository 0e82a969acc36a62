#include "stack/machine.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fnmatch.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "crypto/secret.h"

namespace holdfast::stack {
namespace {

namespace fs = std::filesystem;
using base::Error;

constexpr std::size_t kMaxFile = 1024 * 1024;
constexpr int kPatienceMs = 500;

// What tells how a service is put together, by the names that are usual for it.
constexpr std::string_view kComposeFiles[] = {"compose.yaml", "compose.yml", "docker-compose.yml",
                                              "docker-compose.yaml"};
constexpr std::string_view kConfigFiles[] = {
    "compose*.y*ml", "docker-compose*.y*ml", "Dockerfile*",     "Makefile",  "Caddyfile",
    "alembic.ini",   "nginx.conf",           "prometheus.y*ml", "*.service", "*.timer",
    "holdfast.yaml"};
constexpr std::string_view kConfigFolders[] = {
    "k8s",   "kubernetes", "helm",    "deploy",     "scripts",    "config", "conf",
    "nginx", "systemd",    "alembic", "migrations", "monitoring", "checks", ".taskmaster"};
// Examples of an .env hold no secrets.
constexpr std::string_view kExamples[] = {"*.example", "*.sample", "*.template", "*.dist"};
constexpr std::string_view kKeyFiles[] = {"*.pem", "*.key"};

bool matches(const std::string& name, std::string_view pattern) {
  return ::fnmatch(std::string(pattern).c_str(), name.c_str(), 0) == 0;
}

template <typename Patterns>
bool matches_any(const std::string& name, const Patterns& patterns) {
  return std::any_of(std::begin(patterns), std::end(patterns),
                     [&](std::string_view pattern) { return matches(name, pattern); });
}

struct Listed {
  std::set<std::string> files;
  std::set<std::string> folders;
};

// Empty where it is not there or may not be read.
Listed list(const fs::path& directory) {
  Listed listed;
  std::error_code problem;
  for (fs::directory_iterator at(directory, problem), end; !problem && at != end;
       at.increment(problem)) {
    std::error_code ignored;
    if (at->is_directory(ignored)) listed.folders.insert(at->path().filename().string());
    if (at->is_regular_file(ignored)) listed.files.insert(at->path().filename().string());
  }
  return listed;
}

// ---- Redis

// What a server on the port answers to a PING; empty where there is none.
std::string answer_of(int port) {
  const base::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
      errno != EINPROGRESS) {
    return {};
  }
  pollfd waiting{fd.get(), POLLOUT, 0};
  if (::poll(&waiting, 1, kPatienceMs) != 1) return {};
  if (::send(fd.get(), "PING\r\n", 6, MSG_NOSIGNAL) != 6) return {};
  waiting.events = POLLIN;
  if (::poll(&waiting, 1, kPatienceMs) != 1) return {};
  char answer[64];
  const ssize_t size = ::recv(fd.get(), answer, sizeof answer, 0);
  return size <= 0 ? std::string() : std::string(answer, static_cast<std::size_t>(size));
}

class RedisSearch {
 public:
  explicit RedisSearch(const MachineRoots& roots) : roots_(roots) {}

  std::vector<FoundRedis> run() {
    for (const char* file : {"etc/redis/redis.conf", "etc/valkey/valkey.conf"}) {
      look_at_configuration(roots_.root / file);
    }
    for (const std::string& name : list(roots_.root / "proc").folders) {
      look_at_process(roots_.root / "proc" / name);
    }
    for (const int port : roots_.redis_ports) look_at_port(port);
    return std::move(found_);
  }

 private:
  static std::string text_of(const fs::path& path) {
    try {
      return base::read_text_file(path, kMaxFile);
    } catch (const Error&) {
      return {};
    }
  }

  FoundRedis& add(const std::string& url) {
    for (FoundRedis& known : found_) {
      if (known.url == url) return known;
    }
    found_.push_back({.url = url});
    return found_.back();
  }

  static std::string url_of(const std::string& port) { return "redis://localhost:" + port; }

  // Of a password only that there is one.
  void look_at_configuration(const fs::path& file) {
    std::string text = text_of(file);
    if (text.empty()) return;
    std::string port = "6379";
    std::string socket;
    bool has_password = false;
    std::string_view rest = text;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      const std::string_view line = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      const std::size_t space = line.find(' ');
      if (space == std::string_view::npos) continue;
      const std::string_view name = line.substr(0, space);
      const std::string_view value =
          line.substr(std::min(line.find_first_not_of(' ', space), line.size()));
      if (name == "port" && !value.empty()) port = value;
      if (name == "unixsocket") socket = value;
      if (name == "requirepass") has_password = true;
    }
    crypto::wipe({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
    FoundRedis& redis = add(port == "0" && !socket.empty() ? "unix://" + socket : url_of(port));
    redis.config_file = "/" + file.lexically_relative(roots_.root).string();
    redis.has_password = has_password;
  }

  // "redis-server 127.0.0.1:6379": what it calls itself.
  void look_at_process(const fs::path& process) {
    const std::string name = text_of(process / "comm");
    if (name != "redis-server\n" && name != "valkey-server\n") return;
    const std::string words = text_of(process / "cmdline");
    const std::size_t colon = words.rfind(':');
    std::string port = "6379";
    if (colon != std::string::npos) {
      const std::size_t end = words.find_first_not_of("0123456789", colon + 1);
      if (end != colon + 1) port = words.substr(colon + 1, end - colon - 1);
    }
    if (port == "0" && !found_.empty()) {
      found_.front().runs = true;  // it listens on its socket alone
    } else {
      add(url_of(port)).runs = true;
    }
  }

  void look_at_port(int port) {
    const std::string answer = answer_of(port);
    const bool wants_password = answer.starts_with("-NOAUTH");
    if (!answer.starts_with("+PONG") && !wants_password) return;
    FoundRedis& redis = add(url_of(std::to_string(port)));
    redis.runs = true;
    redis.has_password = redis.has_password || wants_password;
  }

  const MachineRoots& roots_;
  std::vector<FoundRedis> found_;
};

// ---- Files

void look_for_config(Machine& machine, const Listed& listed) {
  for (const std::string_view name : kComposeFiles) {
    if (machine.compose_file.empty() && listed.files.contains(std::string(name))) {
      machine.compose_file = name;
    }
  }
  for (const std::string& name : listed.files) {
    if (matches_any(name, kConfigFiles)) machine.config.push_back(name);
  }
  for (const std::string& name : listed.folders) {
    if (std::ranges::find(kConfigFolders, name) != std::end(kConfigFolders)) {
      machine.config.push_back(name + "/");
    }
  }
}

void look_for_logs(Machine& machine, const MachineRoots& roots, const Listed& listed) {
  for (const char* name : {"logs", "log"}) {
    if (listed.folders.contains(name)) machine.logs.push_back(machine.directory / name);
  }
  const fs::path of_service = fs::path("/var/log") / machine.directory.filename();
  std::error_code ignored;
  if (fs::is_directory(roots.root / of_service.relative_path(), ignored)) {
    machine.logs.push_back(of_service);
  }
}

// Characters that mean something in a pattern stand for themselves.
std::string literal(const fs::path& path) {
  std::string result;
  for (const char c : path.string()) {
    if (std::string_view("*?[\\").find(c) != std::string_view::npos) result += '\\';
    result += c;
  }
  return result;
}

void look_for_keys(Machine& machine, const MachineRoots& roots, const fs::path& directory) {
  const Listed listed = list(roots.root / directory.relative_path());
  for (const std::string_view pattern : kKeyFiles) {
    const bool any = std::any_of(listed.files.begin(), listed.files.end(),
                                 [&](const auto& name) { return matches(name, pattern); });
    if (any) machine.secrets.push_back(fmt::format("{}/{}", literal(directory), pattern));
  }
}

void look_for_secrets(Machine& machine, const MachineRoots& roots, const Listed& listed) {
  for (const std::string& name : listed.files) {
    const bool is_environment = name == ".env" || name.starts_with(".env.");
    if (is_environment && !matches_any(name, kExamples)) {
      machine.secrets.push_back(literal(machine.directory / name));
    }
  }
  look_for_keys(machine, roots, machine.directory);
  const fs::path own = machine.directory / "secrets";
  if (listed.folders.contains("secrets")) machine.secrets.push_back(literal(own) + "/");
  look_for_keys(machine, roots, "/secure");
}

}  // namespace

Machine look_at_machine(const MachineRoots& roots) {
  Machine machine;
  machine.directory =
      roots.root == "/" ? roots.directory : "/" / roots.directory.lexically_relative(roots.root);
  for (postgres::FoundCluster& cluster : postgres::find_clusters(roots.root)) {
    postgres::AskedCluster asked = postgres::ask_cluster(cluster);
    if (asked.info && cluster.data_directory.empty()) {
      cluster.data_directory = asked.info->data_directory;
    }
    if (asked.info) cluster.config_file = asked.info->config_file;
    machine.postgres.push_back({std::move(cluster), std::move(asked)});
  }
  machine.redis = RedisSearch(roots).run();
  const Listed listed = list(roots.directory);
  look_for_config(machine, listed);
  look_for_logs(machine, roots, listed);
  look_for_secrets(machine, roots, listed);
  return machine;
}

}  // namespace holdfast::stack
