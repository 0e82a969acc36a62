// Copies of backups in another repository of the configuration.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "repository/copy.h"
#include "repository/repository.h"

namespace holdfast::stack {

struct CopyingOptions {
  std::vector<std::string> backups;  // ids, prefixes, "latest"
  bool dry_run = false;
  int workers = 2;
};

// The oldest first, each with the logs that its component says it needs. kNotFound or kUsage, and
// nothing is copied, where a name stands for no backup or for several. What keeps one from being
// copied stands in what is told of it.
std::vector<repository::CopiedBackup> copy_backups(const repository::Repository& from,
                                                   const repository::Repository& to,
                                                   const CopyingOptions& options,
                                                   base::Progress& progress, std::stop_token stop);

}  // namespace holdfast::stack
