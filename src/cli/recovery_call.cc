#include "cli/recovery_call.h"

#include <signal.h>

#include <algorithm>
#include <filesystem>

namespace holdfast::cli {
namespace {

bool is_recovery_destination(const std::string& word) {
  const std::string name = std::filesystem::path(word).filename().string();
  return name == "RECOVERYXLOG" || name == "RECOVERYHISTORY";
}

}  // namespace

// The words are looked at as they are: also a command line or a configuration that is wrong must
// not pass for "not there".
bool is_called_by_recovery(std::span<const std::string> words) {
  const auto fetch = std::find(words.begin(), words.end(), "fetch");
  if (fetch == words.begin() || fetch == words.end() || *(fetch - 1) != "wal") return false;
  if (std::none_of(fetch, words.end(), is_recovery_destination)) return false;
  std::error_code ignored;
  return !std::filesystem::exists("standby.signal", ignored);
}

int status_for_recovery(base::ErrorKind failure) {
  constexpr int kStopRecovery = 255;
  constexpr int kEndedBySignal = 128 + SIGTERM;
  return failure == base::ErrorKind::kInterrupted ? kEndedBySignal : kStopRecovery;
}

}  // namespace holdfast::cli
