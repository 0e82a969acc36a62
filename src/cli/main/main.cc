#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/run.h"
#include "cli/signals.h"
#include "crypto/secret.h"

namespace {

// Every user of the machine can read a process's arguments, and a connection string may hold a
// password: it does not stay there.
void hide_connection_strings(std::span<char* const> words) {
  constexpr std::string_view kInto = "--into";
  bool is_next = false;
  for (char* const word : words) {
    const std::string_view text = word;
    const bool follows_sign =
        text.starts_with(kInto) && text.size() > kInto.size() && text[kInto.size()] == '=';
    const std::size_t begin = is_next ? 0 : follows_sign ? kInto.size() + 1 : text.size();
    std::fill(word + begin, word + text.size(), 'x');
    is_next = text == kInto;
  }
}

}  // namespace

int main(int argc, char** argv) {
  holdfast::crypto::forbid_core_dumps();
  const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  hide_connection_strings({argv, static_cast<std::size_t>(argc)});
  holdfast::cli::StopOnSignal signals;
  return holdfast::cli::run(words, {stdout, stderr, ::isatty(STDERR_FILENO) != 0}, signals.token());
}
