// Carries out a plan: files in parallel, WAL, manifest, recovery settings; pg_control last, so that
// what is not whole cannot be started.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <string>

#include "base/progress.h"
#include "postgres/restore_plan.h"
#include "repository/cold_packs.h"

namespace holdfast::postgres {

struct RestoreRequest {
  std::filesystem::path to;                             // absolute
  std::map<std::string, std::string> tablespaces = {};  // old location → new
  std::string restore_command;                          // for the server, with %f and %p
  bool delta = false;  // over what is there: writes only what differs, removes what does not belong
  int workers = 2;
  repository::ThawRequest thaw = {};
  // A copy to take something out of, for a server with a configuration of its own: nothing is
  // fsynced, there is no manifest, and in postgresql.auto.conf only what recovery needs.
  bool throwaway = false;
  // Of such a copy: relations in databases other than these (oids) are holes of their size. WAL
  // still replays, because what it changes after the backup's start comes with images of the pages.
  std::optional<std::set<std::uint32_t>> databases = {};
};

struct RestoreResult {
  std::uint64_t bytes = 0;
  std::uint64_t bytes_written = 0;  // of them; the rest was there already
  std::uint64_t files = 0;
};

// What is written into the data directory, without WAL; `databases` as in RestoreRequest.
std::uint64_t bytes_to_restore(const repository::Context& context, const RestorePlan& plan,
                               const std::optional<std::set<std::uint32_t>>& databases);

// Whether the cluster's WAL has images of pages, without which RestoreRequest::databases is not to
// be used.
bool writes_full_pages(const repository::Context& context, const RestorePlan& plan);

// kRefused where a target directory is not empty or in use; with `delta`, where it is in use or not
// a cluster's (require_replaceable). Everything is fsynced on return. What was written by a restore
// that failed stays, without pg_control, and may be restored over with `delta`. FrozenError, before
// anything is touched, where packs must be thawed first.
RestoreResult restore_cluster(const repository::Context& context, const RestorePlan& plan,
                              const RestoreRequest& request, base::Progress& progress,
                              std::stop_token stop);

}  // namespace holdfast::postgres
