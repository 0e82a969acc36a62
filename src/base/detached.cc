#include "base/detached.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <memory>
#include <string_view>
#include <vector>

namespace holdfast::base {
namespace {

// What this program opens itself is closed on exec; so what is not, came from the caller.
void close_inherited() {
  std::vector<int> inherited;
  {
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir("/proc/self/fd"), closedir);
    while (const dirent* const entry = entries ? readdir(entries.get()) : nullptr) {
      const std::string_view name = entry->d_name;
      int fd = -1;
      std::from_chars(name.data(), name.data() + name.size(), fd);
      if (fd <= STDERR_FILENO) continue;
      const int flags = fcntl(fd, F_GETFD);
      if (flags >= 0 && (flags & FD_CLOEXEC) == 0) inherited.push_back(fd);
    }
  }
  for (const int fd : inherited) close(fd);
  const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(nothing, fd);
}

}  // namespace

void run_detached(const std::function<void()>& body) {
  if (fork() != 0) return;
  setsid();
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  close_inherited();
  try {
    body();
  } catch (...) {
  }
  _exit(0);  // not exit(): buffers and destructors are the first process's
}

}  // namespace holdfast::base
