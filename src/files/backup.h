// A backup of files, or of secrets: files whose names and contents are never shown.
#pragma once

#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repository/record.h"
#include "repository/repository.h"

namespace holdfast::files {

struct BackupRequest {
  std::string component;
  std::filesystem::path root;  // absolute
  std::vector<std::string> include = {};
  std::vector<std::string> exclude = {};
  bool secret = false;       // type secrets: no message names a file
  bool incremental = false;  // do not read files that are as the backup before saw them
  std::string job = {};
  int workers = 2;
  std::uint64_t rate_bytes = 0;  // a second, read; 0: no limit
};

// The backup exists when this returns. Takes the component's lock (kLocked). A file that cannot be
// read, or changes whenever it is read, is named in summary.warnings (of secrets: counted), and the
// rest is good. kNotFound where the root is not there.
repository::BackupSummary take_backup(const repository::Context& context,
                                      const BackupRequest& request, base::Progress& progress,
                                      std::stop_token stop);

}  // namespace holdfast::files
