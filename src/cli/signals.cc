#include "cli/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "base/error.h"

namespace holdfast::cli {
namespace {

// A handler can reach nothing but a global, and do hardly more than write to a pipe ("the self-pipe
// trick"). Handlers, unlike blocked or ignored signals, are not handed down to the programs we
// start.
std::atomic<int> signal_pipe{-1};

void on_signal(int number) {
  const int saved = errno;
  const auto byte = static_cast<unsigned char>(number);
  [[maybe_unused]] const ssize_t written = ::write(signal_pipe.load(), &byte, 1);
  // The second one does what it always did.
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  ::sigaction(number, &action, nullptr);
  errno = saved;
}

void do_nothing(int) {}

void handle(int number, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(number, &action, nullptr);
}

bool is_ignored(int number) {
  struct sigaction action {};
  return ::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

StopOnSignal::StopOnSignal() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw base::system_error(errno, "making a pipe");
  read_end_ = base::UniqueFd(ends[0]);
  write_end_ = base::UniqueFd(ends[1]);
  signal_pipe.store(write_end_.get());
  // A shell starts background jobs with SIGINT ignored: Ctrl-C is not meant for them.
  if (!is_ignored(SIGINT)) handle(SIGINT, on_signal);
  handle(SIGTERM, on_signal);
  handle(SIGPIPE, do_nothing);  // a reader that has gone is an error of the write
  thread_ = std::jthread([this] { run(); });
}

StopOnSignal::~StopOnSignal() {
  const unsigned char end = 0;
  [[maybe_unused]] const ssize_t written = ::write(write_end_.get(), &end, 1);
  thread_.join();
  signal_pipe.store(-1);
}

void StopOnSignal::run() {
  unsigned char number = 0;
  while (true) {
    const ssize_t count = ::read(read_end_.get(), &number, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0 || number == 0) return;
    stop_.request_stop();
  }
}

}  // namespace holdfast::cli
