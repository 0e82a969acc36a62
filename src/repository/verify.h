// Re-reads what a repository holds. Damage is data in the report, never an exception.
#pragma once

#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repository/record.h"

namespace holdfast::repository {

struct Damage {
  std::string object;   // as in storage: "packs/ab/ab…"
  std::string backup;   // the backup that needs it, empty: none that was asked for
  std::string problem;  // a sentence
};

struct VerifyOptions {
  std::vector<std::string> backups;  // ids
  bool quick = false;                // only that every object is there, whole by its size
  int workers = 2;
};

// Logs that a backup needs beside its chunks, as the component's kind knows; called for each
// record.
using NeededLogs = std::function<std::vector<std::string>(const BackupSummary&)>;

struct VerifyReport {
  std::uint64_t checked = 0;  // objects
  std::vector<Damage> damaged;
  std::vector<Damage> frozen;  // could not be read, and are no damage: cold storage
  base::Time started;
  base::Time finished;
};

// Checks the format, the key slots, every index object, the records asked for, their file tables,
// every chunk that they need (whole: read, authenticated, unpacked, compared with its id; each
// chunk once), and the logs. One entry for each pair of damaged object and backup that needs it. An
// index object that is lost or damaged is reported even where the packs' own directories make up
// for it. A write-only credential can verify quickly only: kRefused.
VerifyReport verify(const Context& context, const VerifyOptions& options,
                    const NeededLogs& needed_logs, base::Progress& progress, std::stop_token stop);

// Keeps the report as `reports/ID`.
void put_verify_report(const Context& context, const VerifyOptions& options,
                       const VerifyReport& report);
// When each backup was last verified whole without damage.
std::map<std::string, base::Time> verified_times(const Context& context);

}  // namespace holdfast::repository
