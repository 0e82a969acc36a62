#include "cli/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/error_json.h"
#include "cli/help.h"
#include "cli/recovery_call.h"

namespace holdfast::cli {
namespace {

using base::Error;
using base::ErrorKind;

// The language may not have been understood: whoever writes --json anywhere reads JSON.
bool wants_json(std::span<const std::string> words) {
  return std::find(words.begin(), words.end(), "--json") != words.end();
}

int report(const Error& error, std::span<const std::string> words, const Streams& streams) {
  print_error(streams, error);
  if (wants_json(words)) {
    const nlohmann::json document = {{"error", error_json(error)}};
    fmt::print(streams.out, "{}\n",
               document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    std::fflush(streams.out);
  }
  if (is_called_by_recovery(words)) return status_for_recovery(error.kind());
  return base::info(error.kind()).exit_status;
}

int run_command(std::span<const std::string> words, const Streams& streams,
                const std::stop_token& stop) {
  const Arguments arguments = parse_arguments(words, language());
  Session session(arguments, streams, stop);
  int status = kDone;
  if (arguments.has("--version")) {
    status = run_version(session);
  } else if (arguments.has("--help")) {
    print_help(session, arguments.command);
  } else {
    status = arguments.command->run(session);
  }
  if (std::fflush(streams.out) != 0 || std::ferror(streams.out) != 0) {
    throw Error(ErrorKind::kFailed, "the result could not be written to standard output");
  }
  return status;
}

}  // namespace

int run(std::span<const std::string> words, const Streams& streams, std::stop_token stop) {
  try {
    return run_command(words, streams, stop);
  } catch (const Error& error) {
    return report(error, words, streams);
  } catch (const std::bad_alloc&) {
    return report(Error(ErrorKind::kFailed, "there is not enough memory"), words, streams);
  } catch (const std::exception& error) {
    return report(Error(ErrorKind::kFailed, fmt::format("an unexpected failure: {}", error.what()),
                        "this is a defect in holdfast; please report it"),
                  words, streams);
  }
}

}  // namespace holdfast::cli
