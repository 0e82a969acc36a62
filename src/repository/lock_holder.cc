#include "repository/lock_holder.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "base/file.h"

namespace holdfast::repository {
namespace {

using nlohmann::json;

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

std::string running_boot_id() {
  std::string text = base::read_text_file("/proc/sys/kernel/random/boot_id", 256);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// "pid:[4026531836]"; empty where it cannot be told.
std::string own_pid_namespace() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/ns/pid", error).string();
}

struct ProcessState {
  char state = '?';
  std::uint64_t started = 0;
};

// Fields 3 and 22 of /proc/PID/stat (proc(5)); nullopt where it cannot be read. The name in field 2
// may hold anything, so fields are counted from its last ')'.
std::optional<ProcessState> process_state(pid_t pid) {
  std::string text;
  try {
    text = base::read_text_file("/proc/" + std::to_string(pid) + "/stat", 4096);
  } catch (const base::Error&) {
    return std::nullopt;
  }
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream rest(text.substr(name_end + 1));
  ProcessState state;
  std::string skipped;
  rest >> state.state;
  for (int field = 4; field < 22; ++field) rest >> skipped;
  rest >> state.started;
  if (!rest) return std::nullopt;
  return state;
}

}  // namespace

ProcessIdentity ProcessIdentity::of_this_process() {
  ProcessIdentity self;
  self.host = host_name();
  self.boot_id = running_boot_id();
  self.pid_namespace = own_pid_namespace();
  self.pid = ::getpid();
  if (const auto state = process_state(self.pid)) self.pid_started = state->started;
  return self;
}

base::Bytes encode_lock(const LockHolder& holder) {
  json body = {{"kind", holder.kind},
               {"scope", holder.scope},
               {"exclusive", holder.exclusive},
               {"host", holder.process.host},
               {"boot_id", holder.process.boot_id},
               {"pid_namespace", holder.process.pid_namespace},
               {"pid", holder.process.pid},
               {"pid_started", holder.process.pid_started},
               {"taken", base::format_time(holder.taken)},
               {"heartbeat", base::format_time(holder.heartbeat)},
               {"command", holder.command},
               {"expiry_ms", holder.expiry.count()}};
  if (holder.fence != 0) body["fence"] = holder.fence;
  if (holder.ended) body["ended"] = true;
  if (holder.since) body["since"] = base::format_time(*holder.since);
  const std::string text = body.dump(-1, ' ', false, json::error_handler_t::replace);
  const base::ByteView bytes = base::as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

LockHolder decode_lock(base::ByteView body) {
  const auto moment = [](const json& value) {
    const auto time = base::parse_time(value.get<std::string>(), base::Time());
    if (!time) throw base::Error(base::ErrorKind::kDamaged, "a lock has an impossible time");
    return *time;
  };
  try {
    const json fields = json::parse(base::as_text(body));
    LockHolder holder;
    holder.kind = fields.at("kind").get<std::string>();
    holder.scope = fields.at("scope").get<std::string>();
    holder.exclusive = fields.at("exclusive").get<bool>();
    holder.process.host = fields.at("host").get<std::string>();
    holder.process.boot_id = fields.at("boot_id").get<std::string>();
    holder.process.pid_namespace = fields.at("pid_namespace").get<std::string>();
    holder.process.pid = fields.at("pid").get<pid_t>();
    holder.process.pid_started = fields.at("pid_started").get<std::uint64_t>();
    holder.taken = moment(fields.at("taken"));
    holder.heartbeat = moment(fields.at("heartbeat"));
    holder.command = fields.at("command").get<std::string>();
    if (fields.contains("since")) holder.since = moment(fields.at("since"));
    holder.fence = fields.value("fence", std::uint64_t{0});
    holder.ended = fields.value("ended", false);
    if (fields.contains("expiry_ms")) {
      const std::chrono::milliseconds expiry(fields.at("expiry_ms").get<std::int64_t>());
      holder.expiry = std::clamp<std::chrono::milliseconds>(expiry, {}, kLongestExpiry);
    }
    return holder;
  } catch (const json::exception&) {
    throw base::Error(base::ErrorKind::kDamaged, "a lock cannot be understood");
  }
}

bool conflict(const LockHolder& a, const LockHolder& b) {
  const auto bears_none = [](const LockHolder& lock) {
    return lock.exclusive && lock.scope.empty();
  };
  return bears_none(a) || bears_none(b) || (a.exclusive && b.exclusive && a.scope == b.scope);
}

bool has_ended(const ProcessIdentity& process, const ProcessIdentity& self) {
  // Another boot of a host of this name is not certain: two machines may bear one name.
  if (process.host != self.host || process.boot_id != self.boot_id ||
      process.pid_namespace != self.pid_namespace || process.pid <= 0) {
    return false;
  }
  // kill() sees processes that /proc hides from other users (hidepid).
  if (::kill(process.pid, 0) != 0) return errno == ESRCH;
  const auto state = process_state(process.pid);
  if (!state) return false;
  return state->started != process.pid_started || state->state == 'Z' || state->state == 'X';
}

}  // namespace holdfast::repository
