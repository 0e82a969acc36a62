// Carries out a plan: files in parallel, WAL, manifest, recovery settings; pg_control last, so that
// what is not whole cannot be started.
#pragma once

#include <filesystem>
#include <map>
#include <stop_token>
#include <string>

#include "base/progress.h"
#include "postgres/restore_plan.h"

namespace holdfast::postgres {

struct RestoreRequest {
  std::filesystem::path to;                             // absolute
  std::map<std::string, std::string> tablespaces = {};  // old location → new
  std::string restore_command;                          // for the server, with %f and %p
  int workers = 2;
};

struct RestoreResult {
  std::uint64_t bytes = 0;
  std::uint64_t files = 0;
};

// kRefused where a target directory is not empty or in use. Everything is fsynced on return. What
// was written by a restore that failed stays, without pg_control.
RestoreResult restore_cluster(const repository::Context& context, const RestorePlan& plan,
                              const RestoreRequest& request, base::Progress& progress,
                              std::stop_token stop);

}  // namespace holdfast::postgres
