#include "cli/progress_display.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "base/time.h"

namespace holdfast::cli {
namespace {

constexpr std::chrono::milliseconds kBarDelay{1000};
constexpr std::chrono::milliseconds kBarInterval{200};
constexpr std::chrono::seconds kLineInterval{30};
constexpr std::chrono::seconds kRateWindow{5};
constexpr int kBarCells = 24;
constexpr int kUsualWidth = 80;

int terminal_width(std::FILE* stream) {
  winsize size{};
  if (::ioctl(::fileno(stream), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualWidth;
  return size.ws_col;
}

double fraction(const ProgressState& state) {
  if (state.total_bytes == 0) return 0;
  return std::min(1.0,
                  static_cast<double>(state.done_bytes) / static_cast<double>(state.total_bytes));
}

}  // namespace

std::string format_progress(const ProgressState& state) {
  std::string line = state.phase;
  if (state.done_bytes == 0 && state.total_bytes == 0) return line;
  line += ": " + base::format_size(state.done_bytes);
  if (state.total_bytes > 0) {
    line += fmt::format(" of {} ({:.0f} %)", base::format_size(state.total_bytes),
                        100 * fraction(state));
  }
  if (state.bytes_per_second < 1) return line;
  line +=
      fmt::format(", {}/s", base::format_size(static_cast<std::uint64_t>(state.bytes_per_second)));
  if (state.total_bytes > state.done_bytes) {
    const auto left = static_cast<double>(state.total_bytes - state.done_bytes);
    const std::chrono::duration<double> time(left / state.bytes_per_second);
    line += fmt::format(", {} left",
                        base::format_duration(std::chrono::duration_cast<base::Duration>(time)));
  }
  return line;
}

std::string format_bar(const ProgressState& state, int width) {
  std::string line;
  if (state.total_bytes > 0) {
    const int full = static_cast<int>(fraction(state) * kBarCells);
    line = fmt::format("[{:#<{}}{:.<{}}] ", "", full, "", kBarCells - full);
  }
  line += format_progress(state);
  // The last column stays free: some terminals wrap when it is written.
  const auto room = static_cast<std::size_t>(std::max(1, width - 1));
  return line.size() > room ? line.substr(0, room) : line;
}

ProgressDisplay::ProgressDisplay(std::FILE* stream, bool is_terminal, bool verbose)
    : stream_(stream),
      is_terminal_(is_terminal),
      verbose_(verbose),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  screen_.lock()->rate_since = Clock::now();
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

ProgressDisplay::~ProgressDisplay() {
  thread_.request_stop();
  ::eventfd_write(wake_.get(), 1);
  thread_.join();
  auto screen = screen_.lock();
  clear_bar(*screen);
}

void ProgressDisplay::phase(std::string_view name, std::uint64_t total_bytes) {
  if (verbose_) print_line(name);
  auto screen = screen_.lock();
  done_bytes_.store(0, std::memory_order_relaxed);
  screen->state = {.phase = std::string(name), .total_bytes = total_bytes};
  screen->rate_since = Clock::now();
  screen->rate_bytes = 0;
}

void ProgressDisplay::note(std::string_view line) { print_line(line); }

void ProgressDisplay::warning(std::string_view line) {
  print_line(fmt::format("warning: {}", line));
}

void ProgressDisplay::run(const std::stop_token& stop) {
  std::chrono::milliseconds wait = is_terminal_ ? kBarDelay : kLineInterval;
  while (!stop.stop_requested()) {
    pollfd waiting{wake_.get(), POLLIN, 0};
    const int result = ::poll(&waiting, 1, static_cast<int>(wait.count()));
    if (result != 0) continue;  // woken to stop, or interrupted
    refresh();
    if (is_terminal_) wait = kBarInterval;
  }
}

void ProgressDisplay::refresh() {
  auto screen = screen_.lock();
  ProgressState& state = screen->state;
  if (state.phase.empty()) return;
  state.done_bytes = done_bytes_.load(std::memory_order_relaxed);
  const auto now = Clock::now();
  const std::chrono::duration<double> elapsed = now - screen->rate_since;
  if (elapsed.count() > 0.5) {
    state.bytes_per_second =
        static_cast<double>(state.done_bytes - screen->rate_bytes) / elapsed.count();
  }
  if (elapsed > kRateWindow) {
    screen->rate_since = now;
    screen->rate_bytes = state.done_bytes;
  }
  if (is_terminal_) {
    fmt::print(stream_, "\r\033[K{}", format_bar(state, terminal_width(stream_)));
    screen->bar_is_shown = true;
  } else {
    fmt::print(stream_, "{}\n", format_progress(state));
  }
  std::fflush(stream_);
}

void ProgressDisplay::print_line(std::string_view line) {
  auto screen = screen_.lock();
  clear_bar(*screen);
  fmt::print(stream_, "{}\n", line);
  std::fflush(stream_);
}

void ProgressDisplay::clear_bar(Screen& screen) {
  if (!screen.bar_is_shown) return;
  fmt::print(stream_, "\r\033[K");
  std::fflush(stream_);
  screen.bar_is_shown = false;
}

}  // namespace holdfast::cli
