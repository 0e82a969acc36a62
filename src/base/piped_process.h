// A program whose input we write or whose output we read while it runs.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "base/bytes.h"
#include "base/process.h"

namespace holdfast::base {

// Which of the program's ends are ours; the others are /dev/null. Its standard error is kept.
struct PipedEnds {
  bool input = false;
  bool output = false;
};

// One thread at a time, but input and output may be used by one each. `options.timeout` and
// max_output_bytes have no effect but that the latter bounds what is kept of standard error (the
// last part of it).
class PipedProcess {
 public:
  // Throws only if the program could not be started.
  PipedProcess(const ProcessOptions& options, PipedEnds ends);
  ~PipedProcess();  // kills it with its process group, unless it has ended, and reaps it

  // What is there, at least one byte; 0 at the end of its output. kInterrupted on stop.
  std::size_t read(MutableByteView buffer, const std::stop_token& stop);
  // False where the program takes no more: it has ended, or closed its input. kInterrupted on stop.
  [[nodiscard]] bool write(ByteView bytes, const std::stop_token& stop);
  void close_input();
  // Waits for its end, with what it wrote to standard error in `err`. On stop it is ended (SIGTERM,
  // then SIGKILL) and kInterrupted thrown.
  ProcessResult wait(const std::stop_token& stop);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::base
