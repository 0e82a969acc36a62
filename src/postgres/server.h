// Starting a restored server and waiting for its target.
#pragma once

#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>

#include "base/progress.h"
#include "base/time.h"
#include "postgres/restore_plan.h"

namespace holdfast::postgres {

struct ReachedPoint {
  std::optional<base::Time> time;  // of the last transaction that was replayed
  Lsn lsn = 0;
  std::string server;  // how to connect: "host=… port=…"; empty where the action was shutdown
};

// Where the programs of a major version are: "/usr/lib/postgresql/15/bin", or what pg_config in
// PATH says.
std::optional<std::filesystem::path> server_programs(int major);

// Starts the server on `data_directory` (as its owner, where this is root), waits until recovery
// has reached its target. If the configured port is taken, on a free one. kFailed with the server's
// own log lines where it stops.
ReachedPoint start_and_wait(const std::filesystem::path& data_directory, const RestorePlan& plan,
                            base::Progress& progress, std::stop_token stop);

}  // namespace holdfast::postgres
