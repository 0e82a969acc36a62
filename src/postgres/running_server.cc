#include "postgres/running_server.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <functional>

#include "base/error.h"
#include "base/file.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxLockFileSize = 64 * 1024;

// A standalone server (single-user mode) writes its number negative (CreateLockFile() in
// miscinit.c).
std::optional<pid_t> first_number(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  pid_t pid = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (problem != std::errc{} || pid <= 0) return std::nullopt;
  return pid;
}

bool lives(pid_t pid) { return ::kill(pid, 0) == 0 || errno == EPERM; }

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// Every server process works in its data directory (ChangeToDataDir() in miscinit.c).
std::string working_directory_of(pid_t pid) { return fmt::format("/proc/{}/cwd", pid); }

enum class At { kHere, kElsewhere, kUnknown };

At where_is(pid_t pid, const struct stat& directory) {
  struct stat status {};
  if (::stat(working_directory_of(pid).c_str(), &status) == 0) {
    return same_file(status, directory) ? At::kHere : At::kElsewhere;
  }
  // A process that has ended, and that its parent has not yet noticed, works nowhere.
  const bool ended = errno == ENOENT && fs::exists(fmt::format("/proc/{}", pid));
  return ended ? At::kElsewhere : At::kUnknown;
}

// Calls `each` with the processes that have the server's name, until it returns true.
std::optional<pid_t> find_server(const std::function<bool(pid_t)>& each) {
  std::error_code problem;
  for (fs::directory_iterator at("/proc", problem), end; !problem && at != end;
       at.increment(problem)) {
    const std::string name = at->path().filename();
    pid_t pid = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (parsed.ec != std::errc{} || parsed.ptr != name.data() + name.size()) continue;
    try {
      const std::string program = base::read_text_file(at->path() / "comm", 4096);
      const bool is_server = program.find("postgres") != std::string::npos ||
                             program.find("postmaster") != std::string::npos;
      if (is_server && each(pid)) return pid;
    } catch (const base::Error&) {
      continue;  // it has just ended
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<pid_t> living_holder(const fs::path& lock_file) {
  std::error_code problem;
  if (!fs::exists(lock_file, problem)) return std::nullopt;
  const std::optional<pid_t> pid = first_number(base::read_text_file(lock_file, kMaxLockFileSize));
  return pid && lives(*pid) ? pid : std::nullopt;
}

std::optional<std::string> server_on(const fs::path& data_directory) {
  struct stat directory {};
  if (::stat(data_directory.c_str(), &directory) != 0) return std::nullopt;
  if (const auto pid =
          find_server([&](pid_t each) { return where_is(each, directory) == At::kHere; })) {
    return fmt::format("{} is in use: a server (process {}) runs on it", data_directory.string(),
                       *pid);
  }
  const fs::path lock_file = data_directory / "postmaster.pid";
  struct stat status {};
  if (::lstat(lock_file.c_str(), &status) != 0) return std::nullopt;
  std::optional<pid_t> pid;
  if (S_ISREG(status.st_mode))
    pid = first_number(base::read_text_file(lock_file, kMaxLockFileSize));
  if (!pid) {
    return fmt::format("{} may be in use: it holds a postmaster.pid that names no process",
                       data_directory.string());
  }
  if (!lives(*pid) || where_is(*pid, directory) == At::kElsewhere) return std::nullopt;
  return fmt::format("{} may be in use: its postmaster.pid names process {}, which lives",
                     data_directory.string(), *pid);
}

std::optional<std::string> server_with_tablespace(const fs::path& location) {
  struct stat directory {};
  if (::stat(location.c_str(), &directory) != 0) return std::nullopt;
  const auto has_link = [&](pid_t pid) {
    std::error_code problem;
    for (fs::directory_iterator at(working_directory_of(pid) + "/pg_tblspc", problem), end;
         !problem && at != end; at.increment(problem)) {
      struct stat target {};
      if (::stat(at->path().c_str(), &target) == 0 && same_file(target, directory)) return true;
    }
    return false;
  };
  if (const auto pid = find_server(has_link)) {
    return fmt::format("{} is in use: it is a tablespace of a running server (process {})",
                       location.string(), *pid);
  }
  return std::nullopt;
}

}  // namespace holdfast::postgres
