#include "base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include "base/child.h"
#include "base/concurrency.h"
#include "base/error.h"

namespace holdfast::base {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Between asking a program to stop and killing it.
constexpr milliseconds kStopGrace{2000};

// One of the program's two outputs.
class Output {
 public:
  Output(UniqueFd fd, std::string& text, std::size_t max_size_bytes)
      : fd_(std::move(fd)), text_(text), max_size_bytes_(max_size_bytes) {
    fcntl(fd_.get(), F_SETFL, O_NONBLOCK);
  }

  // -1 after its end, which poll() ignores.
  int fd() const { return fd_.get(); }

  // Takes what is there, but not for ever from a program that writes without end. 1 MiB is the most
  // that a pipe holds (pipe(7)), so nothing is left behind after the program ended.
  void drain() {
    std::array<char, 16384> buffer;
    for (int reads = 0; fd_ && reads < 64; ++reads) {
      const ssize_t size = read(fd_.get(), buffer.data(), buffer.size());
      if (size < 0 && errno == EINTR) continue;
      if (size < 0 && errno == EAGAIN) return;
      if (size <= 0) {
        fd_.reset();
        return;
      }
      const std::size_t room = max_size_bytes_ - text_.size();
      text_.append(buffer.data(), std::min(static_cast<std::size_t>(size), room));
    }
  }

 private:
  UniqueFd fd_;
  std::string& text_;
  std::size_t max_size_bytes_;
};

// Until the program itself has ended. Its outputs may stay open longer: `pg_ctl start` leaves a
// server that inherited them.
void wait_for_end(Child& child, std::array<Output, 2>& outputs, milliseconds timeout,
                  const std::stop_token& stop, bool& timed_out) {
  const UniqueFd stop_event(eventfd(0, EFD_CLOEXEC));
  if (!stop_event) throw system_error(errno, "cannot make an event");
  const std::stop_callback wake(stop, [&] { eventfd_write(stop_event.get(), 1); });

  auto deadline = SteadyClock::now() + timeout;
  bool stopping = false;
  bool killed = false;
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - SteadyClock::now());
    if (!killed && left <= milliseconds(0)) {
      child.signal_group(SIGKILL);
      killed = true;
      timed_out = !stopping;
    }
    std::array<pollfd, 4> events{{{child.ended_fd(), POLLIN, 0},
                                  {outputs[0].fd(), POLLIN, 0},
                                  {outputs[1].fd(), POLLIN, 0},
                                  {stopping ? -1 : stop_event.get(), POLLIN, 0}}};
    constexpr std::int64_t kLongestPollMs = 3'600'000;
    const int wait_ms =
        killed ? -1 : static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, kLongestPollMs));
    if (poll(events.data(), events.size(), wait_ms) < 0 && errno != EINTR) {
      throw system_error(errno, "cannot wait for a process");
    }
    for (Output& output : outputs) output.drain();
    if (events[0].revents != 0) return;
    if (!stopping && stop.stop_requested()) {
      stopping = true;
      child.signal_group(SIGTERM);
      deadline = std::min(deadline, SteadyClock::now() + kStopGrace);
    }
  }
}

}  // namespace

ProcessResult run_process(const ProcessOptions& options, const std::stop_token& stop) {
  throw_if_stopped(stop);
  Pipe out = make_pipe();
  Pipe err = make_pipe();
  Child child(options, {.out = out.write_end.get(), .err = err.write_end.get()});
  out.write_end.reset();
  err.write_end.reset();

  ProcessResult result;
  std::array<Output, 2> outputs{
      Output(std::move(out.read_end), result.out, options.max_output_bytes),
      Output(std::move(err.read_end), result.err, options.max_output_bytes)};
  wait_for_end(child, outputs, options.timeout, stop, result.timed_out);
  for (Output& output : outputs) output.drain();
  result.exit_status = child.reap();
  throw_if_stopped(stop);
  return result;
}

}  // namespace holdfast::base
