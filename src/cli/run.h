// The program behind main(): from words to an exit status.
#pragma once

#include <span>
#include <stop_token>
#include <string>

#include "cli/session.h"

namespace holdfast::cli {

// Never throws: every failure is reported on the streams and becomes an exit status.
int run(std::span<const std::string> words, const Streams& streams, std::stop_token stop);

}  // namespace holdfast::cli
