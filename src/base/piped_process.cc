#include "base/piped_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <optional>
#include <thread>
#include <utility>

#include "base/child.h"
#include "base/concurrency.h"
#include "base/error.h"

namespace holdfast::base {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

// Between asking a program to stop and killing it.
constexpr milliseconds kStopGrace{2000};
// How often a wait looks for a stop.
constexpr int kLookEveryMs = 200;
// More than the 64 KiB of a new pipe, so that the two sides wait for each other less. As much as
// the system lets anyone have.
constexpr int kPipeSize = 1024 * 1024;

Pipe make_wide_pipe() {
  Pipe pipe = make_pipe();
  fcntl(pipe.write_end.get(), F_SETPIPE_SZ, kPipeSize);  // it may be refused
  return pipe;
}

// False on time-out.
bool wait_for(int fd, short events, int timeout_ms) {
  pollfd entry{fd, events, 0};
  const int ready = poll(&entry, 1, timeout_ms);
  if (ready < 0 && errno != EINTR) throw system_error(errno, "cannot wait for a process");
  return ready > 0;
}

// Reads standard error while the program runs, so that it never waits for us, and keeps the end.
class ErrorTail {
 public:
  ErrorTail(UniqueFd fd, std::size_t max_size_bytes)
      : fd_(std::move(fd)), end_(eventfd(0, EFD_CLOEXEC)), max_size_bytes_(max_size_bytes) {
    if (!end_) throw system_error(errno, "cannot make an event");
    fcntl(fd_.get(), F_SETFL, O_NONBLOCK);
    thread_ = std::thread([this] { run(); });
  }
  ~ErrorTail() { finish(); }

  // After the program's end. What it left running may hold standard error open, so this takes what
  // is there and does not wait for the end of it.
  std::string finish() {
    if (!thread_.joinable()) return {};
    eventfd_write(end_.get(), 1);
    thread_.join();
    drain();
    cut();
    return std::move(text_);
  }

 private:
  void run() {
    for (;;) {
      std::array<pollfd, 2> events{{{fd_.get(), POLLIN, 0}, {end_.get(), POLLIN, 0}}};
      if (poll(events.data(), events.size(), -1) < 0 && errno != EINTR) return;
      if (events[1].revents != 0) return;
      drain();
    }
  }

  void drain() {
    std::array<char, 16384> buffer;
    for (int reads = 0; fd_ && reads < 64; ++reads) {
      const ssize_t size = ::read(fd_.get(), buffer.data(), buffer.size());
      if (size < 0 && errno == EINTR) continue;
      if (size < 0 && errno == EAGAIN) return;
      if (size <= 0) {
        fd_.reset();
        return;
      }
      text_.append(buffer.data(), static_cast<std::size_t>(size));
      if (text_.size() > 2 * max_size_bytes_ + buffer.size()) cut();
    }
  }

  void cut() {
    if (text_.size() > max_size_bytes_) text_.erase(0, text_.size() - max_size_bytes_);
  }

  UniqueFd fd_;
  UniqueFd end_;
  std::size_t max_size_bytes_;
  std::string text_;
  std::thread thread_;
};

}  // namespace

struct PipedProcess::Impl {
  Impl(const ProcessOptions& options, PipedEnds ends) {
    Pipe in;
    Pipe out;
    Pipe err = make_pipe();
    if (ends.input) in = make_wide_pipe();
    if (ends.output) out = make_wide_pipe();
    child.emplace(options, Child::Ends{.in = in.read_end.get(),
                                       .out = out.write_end.get(),
                                       .err = err.write_end.get()});
    err.write_end.reset();
    tail.emplace(std::move(err.read_end), options.max_output_bytes);
    input = std::move(in.write_end);
    output = std::move(out.read_end);
    if (input) fcntl(input.get(), F_SETFL, O_NONBLOCK);
    if (output) fcntl(output.get(), F_SETFL, O_NONBLOCK);
  }

  UniqueFd input;
  UniqueFd output;
  std::optional<ErrorTail> tail;
  std::optional<Child> child;  // the last: it ends before what reads its words
};

PipedProcess::PipedProcess(const ProcessOptions& options, PipedEnds ends)
    : impl_(std::make_unique<Impl>(options, ends)) {}

PipedProcess::~PipedProcess() = default;

std::size_t PipedProcess::read(MutableByteView buffer, const std::stop_token& stop) {
  for (;;) {
    throw_if_stopped(stop);
    const ssize_t size = ::read(impl_->output.get(), buffer.data(), buffer.size());
    if (size >= 0) return static_cast<std::size_t>(size);
    if (errno == EAGAIN) {
      wait_for(impl_->output.get(), POLLIN, kLookEveryMs);
    } else if (errno != EINTR) {
      throw system_error(errno, "cannot read a program's output");
    }
  }
}

// Whoever uses it handles or ignores SIGPIPE, as the program does from its start (cli/signals.h).
bool PipedProcess::write(ByteView bytes, const std::stop_token& stop) {
  while (!bytes.empty()) {
    throw_if_stopped(stop);
    if (!impl_->input) return false;
    const ssize_t size = ::write(impl_->input.get(), bytes.data(), bytes.size());
    if (size >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(size));
    } else if (errno == EPIPE) {
      impl_->input.reset();
    } else if (errno == EAGAIN) {
      wait_for(impl_->input.get(), POLLOUT, kLookEveryMs);
    } else if (errno != EINTR) {
      throw system_error(errno, "cannot write to a program");
    }
  }
  return true;
}

void PipedProcess::close_input() { impl_->input.reset(); }

ProcessResult PipedProcess::wait(const std::stop_token& stop) {
  impl_->input.reset();
  impl_->output.reset();
  Child& child = *impl_->child;
  std::optional<SteadyClock::time_point> deadline;
  while (!wait_for(child.ended_fd(), POLLIN, kLookEveryMs)) {
    if (!deadline && stop.stop_requested()) {
      child.signal_group(SIGTERM);
      deadline = SteadyClock::now() + kStopGrace;
    }
    if (deadline && SteadyClock::now() >= *deadline) child.signal_group(SIGKILL);
  }
  ProcessResult result;
  result.exit_status = child.reap();
  result.err = impl_->tail->finish();
  throw_if_stopped(stop);
  return result;
}

}  // namespace holdfast::base
