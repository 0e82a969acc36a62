// Copies backups to another repository. Where both have the same keys, objects go over as they are
// and nothing is read but to check it: a write-only credential will do. Where the keys differ,
// everything is read and stored anew: that takes a credential that reads the source.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "repository/verify.h"

namespace holdfast::repository {

struct CopyOptions {
  std::vector<std::string> backups;  // ids
  int workers = 2;
  bool dry_run = false;  // says what would be sent, and writes nothing
};

struct CopiedBackup {
  std::string id;
  bool already_there = false;
  // What was put in the target (locks are not counted). Of a dry run: the packs and logs to come.
  std::uint64_t objects_sent = 0;
  std::uint64_t bytes_sent = 0;
  std::optional<base::Error> error;     // it was not copied
  std::vector<std::string> warnings{};  // it is there, and this must be looked at
};

// Whether objects of one repository are good in the other as they are: they are bound to its id and
// keys, and to nothing else.
bool share_keys(const Keyring& a, const Keyring& b);

// Copies one backup after the other, and tells of each. The record comes last: a backup exists in
// the target when it is whole there, under the id that it has; what it shares with backups there is
// not sent. What an interrupted copy has put is not sent again. One that cannot be copied does not
// keep the next from being copied, unless the reason concerns them all. Locks: shared in both
// repositories. Memory: 150 MiB at most, beside both indexes.
void copy_backups(const Context& from, const Context& to, const CopyOptions& options,
                  const NeededLogs& needed_logs, const std::function<void(CopiedBackup&&)>& copied,
                  base::Progress& progress, std::stop_token stop);

}  // namespace holdfast::repository
