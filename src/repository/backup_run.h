// What stands around every backup, of whatever kind: the component's lock and a look at what is
// there before, the record and the lock's release after.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/progress.h"
#include "repository/index.h"
#include "repository/lock.h"
#include "repository/record.h"

namespace holdfast::repository {

// One at a time for each component. The index must outlive the stores and readers made of it.
class BackupRun {
 public:
  // Takes the component's lock (kLocked), and looks at the repository beside it. Context and
  // progress outlive it.
  BackupRun(const Context& context, const std::string& component, base::Progress& progress);

  const Index& index() const { return index_; }
  // The newest backup of the component that can be read. Once: it is handed over.
  std::optional<BackupRecord> take_newest() { return std::move(newest_); }
  // Sets component, id, start and previous. The id was never given before.
  void begin(BackupSummary& summary) const;

  // The backup exists on return. Sets `finished`. kFailed where another took the id meanwhile,
  // kLocked where another took the component over.
  void publish(BackupRecord& record, const std::stop_token& stop) const;
  // Gives the lock back; what the user must know of it becomes a warning.
  void end(BackupSummary& summary);

 private:
  const Context& context_;
  const std::string component_;
  base::Progress& progress_;
  std::optional<BackupRecord> newest_;
  std::string newest_id_;
  Index index_;
  std::unique_ptr<Lock> lock_;
};

}  // namespace holdfast::repository
