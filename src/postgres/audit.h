// Re-reads a share of what an incremental backup takes for unchanged, so that a change which the
// WAL did not tell of becomes an error and not a silent loss.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <vector>

#include "postgres/backup_details.h"
#include "postgres/incremental_plan.h"

namespace holdfast::postgres {

struct AuditRequest {
  double share = 0.02;  // of the relations' pages in the backup before: 0 to 1
  AuditPlace from;
  Lsn since = 0;  // the start of the backup before
  // The pages may be those of another physical copy than the backup before was made of (a standby
  // that was promoted): hint bits and unused bytes need not be the same, checksums or not.
  bool other_copy = false;
};

struct AuditMoment {
  Lsn start = 0;                     // of this backup
  std::function<Lsn()> current_lsn;  // how far the server has written WAL
};

struct AuditResult {
  std::uint64_t pages = 0;  // looked at
  AuditPlace next;
  std::vector<BadPage> differences;
  // Pages that differ, by hint bits or perhaps more: a credential that can only write cannot tell.
  std::uint64_t unjudged = 0;
  std::uint64_t frozen = 0;  // not looked at: what is known of them is in cold storage
};

// Goes through the relation files in turn, beginning where the last audit ended, and compares the
// hash of each page with that in the repository: in the background, from its construction on, while
// the server makes its checkpoint. What is given outlives it.
class Audit {
 public:
  // `before`: the file table of the backup before.
  Audit(const repository::Context& context, const repository::Index& index,
        const ClusterInfo& cluster, const std::vector<repository::FileEntry>& before,
        const AuditRequest& request, const ReadingLimits& limits, std::stop_token stop);
  ~Audit();  // ends the reading

  // Waits for the end of the reading. A page that differs and that `plan` does not take is read
  // again; if it was not changed since the start of this backup, by its LSN, and the difference is
  // not one that PostgreSQL makes without WAL (page_hints.h), it is a difference. In any case the
  // page is taken.
  AuditResult finish(IncrementalPlan& plan, const AuditMoment& moment);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::postgres
