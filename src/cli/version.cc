#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/session.h"

namespace holdfast::cli {
namespace {

constexpr std::string_view kVersion = HOLDFAST_VERSION;
constexpr int kFormatVersion = 1;  // of the repositories that it writes: docs/format.md

}  // namespace

int run_version(Session& session) {
  session.print(fmt::format("holdfast {}", kVersion));
  if (session.json()) {
    session.print_json({{"version", kVersion}, {"repository_format", kFormatVersion}});
  }
  return kDone;
}

}  // namespace holdfast::cli
