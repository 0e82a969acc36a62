#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "cli/run.h"
#include "cli/signals.h"
#include "crypto/secret.h"

int main(int argc, char** argv) {
  holdfast::crypto::forbid_core_dumps();
  const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  holdfast::cli::StopOnSignal signals;
  return holdfast::cli::run(words, {stdout, stderr, ::isatty(STDERR_FILENO) != 0}, signals.token());
}
