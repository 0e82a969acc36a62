// Puts files back as they were.
#pragma once

#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repository/cold_packs.h"
#include "repository/record.h"
#include "repository/repository.h"

namespace holdfast::files {

struct RestoreRequest {
  std::filesystem::path to;            // absolute; missing or empty, unless `delta`
  std::vector<std::string> only = {};  // paths; a directory means all below it. None: everything
  bool delta = false;   // over what is there: write what differs, remove what is more
  bool secret = false;  // 0600 below 0700, and no message names a file
  int workers = 2;
  repository::ThawRequest thaw = {};
};

struct RestoreResult {
  std::uint64_t bytes = 0;
  std::uint64_t bytes_written = 0;
  std::uint64_t files = 0;
  std::uint64_t removed = 0;  // with `delta`
  std::vector<std::string> notes;
  std::vector<std::string> warnings;  // what is not as it was: owners without the right to set them
};

// Works for every record with a file table (dumps too). Nothing is written outside of `to`: no path
// and no link of the backup or of what is there leads out. A table that asks for it, or for an
// entry below what is no directory, is kDamaged, before anything is written. A file appears whole
// under its name, or not at all; what it replaces goes only then. With `delta`, what the backup's
// patterns mean and the backup does not hold is removed last, when all else is durable; other files
// are left alone, and of secrets and with `only` nothing is removed. Everything is fsynced on
// return. kRefused where `to` is not empty; kNotFound where `only` names nothing.
RestoreResult restore_tree(const repository::Context& context,
                           const repository::BackupRecord& record, const RestoreRequest& request,
                           base::Progress& progress, std::stop_token stop);

}  // namespace holdfast::files
