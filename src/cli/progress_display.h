// Progress for people: a bar on a terminal for work longer than a second, a line every 30 s
// elsewhere.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "base/concurrency.h"
#include "base/file.h"
#include "base/progress.h"

namespace holdfast::cli {

// What a progress line tells.
struct ProgressState {
  std::string phase;
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;  // 0: not known
  double bytes_per_second = 0;    // 0: not known yet
};

// "reading: 1.2 GiB of 4.8 GiB (25 %), 310.0 MiB/s, 12.0 s left".
std::string format_progress(const ProgressState& state);
// The same behind a bar, at most `width` columns.
std::string format_bar(const ProgressState& state, int width);

class ProgressDisplay final : public base::Progress {
 public:
  ProgressDisplay(std::FILE* stream, bool is_terminal, bool verbose);
  ~ProgressDisplay() override;  // takes the bar away

  void phase(std::string_view name, std::uint64_t total_bytes) override;
  void advance(std::uint64_t bytes) override {
    done_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  }
  void note(std::string_view line) override;
  void warning(std::string_view line) override;

 private:
  using Clock = std::chrono::steady_clock;

  struct Screen {
    ProgressState state;
    Clock::time_point rate_since;  // the rate is that of the recent past, not of the whole phase
    std::uint64_t rate_bytes = 0;
    bool bar_is_shown = false;
  };

  void run(const std::stop_token& stop);
  void refresh();
  void print_line(std::string_view line);
  void clear_bar(Screen& screen);

  std::FILE* const stream_;
  const bool is_terminal_;
  const bool verbose_;
  std::atomic<std::uint64_t> done_bytes_{0};
  base::Guarded<Screen> screen_;
  base::UniqueFd wake_;  // an eventfd: ends the thread's wait
  std::jthread thread_;
};

}  // namespace holdfast::cli
