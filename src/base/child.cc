#include "base/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string_view>

#include "base/error.h"

namespace holdfast::base {
namespace {

// What the child needs, made before the fork: between fork and exec only async-signal-safe calls
// are allowed (signal-safety(7)), since another thread may have held any lock at the fork.
struct Launch {
  std::string program;
  std::string working_directory;
  std::vector<char*> argv;
  std::vector<std::string> environment;
  std::vector<char*> envp;
  bool switch_user = false;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  int end_with_us = 0;
  pid_t parent = 0;
};

struct LaunchFailure {
  enum Step : int { kSetUp, kDirectory, kUser, kExec } step;
  int error;
};

bool is_executable(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         access(path.c_str(), X_OK) == 0;
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* const variable = std::getenv("PATH");
  std::string_view path = variable != nullptr ? variable : "/usr/local/bin:/usr/bin:/bin";
  while (!path.empty()) {
    const std::size_t end = std::min(path.find(':'), path.size());
    const std::string_view directory = path.substr(0, end);
    // An empty entry means the current directory, by POSIX; nobody wants that here.
    if (std::string file = fmt::format("{}/{}", directory, name);
        !directory.empty() && is_executable(file)) {
      return file;
    }
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  throw Error(ErrorKind::kFailed, fmt::format("cannot run {}: it is not in PATH", name),
              "install the program, or add its directory to PATH");
}

// Sets NAME=value, in place of an entry of the same name.
void set_variable(std::vector<std::string>& environment, const std::string& entry) {
  const std::string_view name_and_sign(entry.data(), std::min(entry.find('=') + 1, entry.size()));
  std::erase_if(environment,
                [&](const std::string& other) { return other.starts_with(name_and_sign); });
  environment.push_back(entry);
}

void prepare_user(Launch& launch, uid_t uid) {
  struct passwd entry {};
  struct passwd* found = nullptr;
  std::array<char, 16384> strings;
  const int error = getpwuid_r(uid, &entry, strings.data(), strings.size(), &found);
  if (error != 0) throw system_error(error, fmt::format("cannot look up user {}", uid));
  if (found == nullptr) throw Error(ErrorKind::kFailed, fmt::format("there is no user {}", uid));
  launch.switch_user = true;
  launch.uid = uid;
  launch.gid = entry.pw_gid;
  int count = 64;
  launch.groups.resize(static_cast<std::size_t>(count));
  while (getgrouplist(entry.pw_name, entry.pw_gid, launch.groups.data(), &count) < 0) {
    launch.groups.resize(static_cast<std::size_t>(count));
  }
  launch.groups.resize(static_cast<std::size_t>(count));
  set_variable(launch.environment, fmt::format("HOME={}", entry.pw_dir));
  set_variable(launch.environment, fmt::format("USER={}", entry.pw_name));
  set_variable(launch.environment, fmt::format("LOGNAME={}", entry.pw_name));
}

// Points into `options`, which outlives it.
Launch prepare(const ProcessOptions& options) {
  Launch launch;
  launch.program = find_program(options.argv.at(0));
  launch.working_directory = options.working_directory;
  launch.end_with_us = options.end_with_us;
  launch.parent = getpid();
  for (char** variable = environ; *variable != nullptr; ++variable) {
    launch.environment.emplace_back(*variable);
  }
  if (options.uid && *options.uid != geteuid()) prepare_user(launch, *options.uid);
  for (const std::string& entry : options.extra_environment) {
    set_variable(launch.environment, entry);
  }
  for (const std::string& argument : options.argv) {
    launch.argv.push_back(const_cast<char*>(argument.c_str()));
  }
  launch.argv.push_back(nullptr);
  for (std::string& entry : launch.environment) launch.envp.push_back(entry.data());
  launch.envp.push_back(nullptr);
  return launch;
}

[[noreturn]] void report_and_exit(int status_fd, LaunchFailure::Step step) {
  const LaunchFailure failure{step, errno};
  [[maybe_unused]] const ssize_t written = write(status_fd, &failure, sizeof failure);
  _exit(127);
}

// -1: what was asked for is /dev/null.
bool set_end(int fd, int null, int number) { return dup2(fd >= 0 ? fd : null, number) >= 0; }

// In the child. Raw system calls for the ids: glibc's wrappers would go through its list of
// threads.
[[noreturn]] void become(const Launch& launch, const Child::Ends& ends, int status_fd) {
  setpgid(0, 0);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0 || !set_end(ends.in, null, STDIN_FILENO) ||
      !set_end(ends.out, null, STDOUT_FILENO) || !set_end(ends.err, null, STDERR_FILENO)) {
    report_and_exit(status_fd, LaunchFailure::kSetUp);
  }
  // A server that the program leaves behind must not hold on to what is open here. (Kernels before
  // 5.11 refuse it; everything that this project opens is close-on-exec anyway.)
  constexpr unsigned kCloseOnExec = 1u << 2;
  syscall(SYS_close_range, 3u, ~0u, kCloseOnExec);
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (!launch.working_directory.empty() && chdir(launch.working_directory.c_str()) != 0) {
    report_and_exit(status_fd, LaunchFailure::kDirectory);
  }
  if (launch.switch_user &&
      (syscall(SYS_setgroups, launch.groups.size(), launch.groups.data()) != 0 ||
       syscall(SYS_setgid, launch.gid) != 0 || syscall(SYS_setuid, launch.uid) != 0)) {
    report_and_exit(status_fd, LaunchFailure::kUser);
  }
  // A change of the user takes it away again, so not before.
  if (launch.end_with_us != 0) {
    prctl(PR_SET_PDEATHSIG, launch.end_with_us);
    if (getppid() != launch.parent) _exit(127);
  }
  execve(launch.program.c_str(), launch.argv.data(), launch.envp.data());
  report_and_exit(status_fd, LaunchFailure::kExec);
}

[[noreturn]] void throw_failure(const Launch& launch, const LaunchFailure& failure) {
  std::string detail;
  if (failure.step == LaunchFailure::kDirectory) detail = " in " + launch.working_directory;
  if (failure.step == LaunchFailure::kUser) detail = fmt::format(" as user {}", launch.uid);
  throw system_error(failure.error, fmt::format("cannot run {}{}", launch.program, detail));
}

}  // namespace

Pipe make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw system_error(errno, "cannot make a pipe");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Child::Child(const ProcessOptions& options, const Ends& ends) {
  const Launch launch = prepare(options);
  Pipe status = make_pipe();
  pid_ = fork();
  if (pid_ < 0) throw system_error(errno, "cannot start a process");
  if (pid_ == 0) become(launch, ends, status.write_end.get());
  setpgid(pid_, pid_);  // whoever of the two comes first
  status.write_end.reset();
  // Exec closes the other end; a failure before comes as one message.
  LaunchFailure failure{};
  ssize_t size = 0;
  do {
    size = read(status.read_end.get(), &failure, sizeof failure);
  } while (size < 0 && errno == EINTR);
  if (size == static_cast<ssize_t>(sizeof failure)) {
    reap();
    throw_failure(launch, failure);
  }
  ended_ = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  if (!ended_) {
    const int error = errno;
    signal_group(SIGKILL);
    reap();
    throw system_error(error, "cannot watch a process");
  }
}

Child::~Child() {
  if (reaped_) return;
  signal_group(SIGKILL);
  reap();
}

void Child::signal_group(int number) { kill(-pid_, number); }

int Child::reap() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  reaped_ = true;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace holdfast::base
