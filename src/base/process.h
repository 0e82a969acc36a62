// Runs other programs without a shell.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace holdfast::base {

struct ProcessOptions {
  std::vector<std::string> argv;                 // argv[0] is looked up in PATH
  std::string working_directory{};               // empty: this one's
  std::optional<uid_t> uid{};                    // run as that user, with its groups (needs root)
  std::vector<std::string> extra_environment{};  // "NAME=value"
  // A signal that it gets when the thread that starts it ends, however that comes about; 0: none.
  int end_with_us = 0;
  std::chrono::milliseconds timeout{60'000};                // killed after
  std::size_t max_output_bytes = std::size_t{1024} * 1024;  // the rest is dropped
};

struct ProcessResult {
  int exit_status = 0;  // 128 + signal where a signal ended it
  bool timed_out = false;
  std::string out;
  std::string err;
};

// Waits for the end. Throws only if the program could not be started, or on stop.
ProcessResult run_process(const ProcessOptions& options, const std::stop_token& stop = {});

}  // namespace holdfast::base
