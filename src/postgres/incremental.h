// An incremental backup: on what it can build, how it finds what changed, and what it stores.
#pragma once

#include <optional>
#include <string>

#include "postgres/audit.h"
#include "postgres/backup_details.h"
#include "postgres/backup_session.h"
#include "postgres/changes_between.h"

namespace holdfast::postgres {

// The backup before, on which an incremental one builds.
struct IncrementalBase {
  repository::BackupRecord record;
  BackupDetails details;
};

struct IncrementalFiles {
  StoredFiles stored;
  std::optional<AuditResult> audit;  // none where every page was looked at
  std::vector<std::string> rebuilt;  // files of which the repository had lost chunks
  bool other_copy = false;           // as in AuditRequest
};

// One incremental backup. What is given outlives it.
class Incremental {
 public:
  struct Options {
    double audit_share = 0.02;  // of the unchanged pages, where maps say which those are: 0 to 1
    std::stop_token stop;
  };

  // Before the start of the backup: reads what the base has, and begins the audit. kDamaged where
  // the base's file table cannot be read.
  Incremental(const repository::Context& context, const repository::Index& index,
              const ClusterInfo& cluster, const IncrementalBase& base, const ReadingLimits& limits,
              const Options& options);

  // A sentence why nothing can be built on the base, as far as the cluster tells; nullopt where it
  // can.
  static std::optional<std::string> why_not(const IncrementalBase& base,
                                            const ClusterInfo& cluster);
  // After the start: the same of the way that the WAL took since. Collects the change maps.
  std::optional<std::string> why_not(const BackupStart& start);
  // Why the maps don't tell all, so that every page is looked at; empty where they do.
  const std::string& gap() const { return changes_.gap; }

  // Then: stores what changed since the base's start, and points everything else at what is there.
  // `files`: the listing, made after the start; `current_lsn`: how far the server has written WAL.
  IncrementalFiles store(const std::vector<ClusterFile>& files, repository::ChunkStore& store,
                         std::function<Lsn()> current_lsn, base::Progress& progress);

 private:
  const repository::Context& context_;
  const repository::Index& index_;
  const ClusterInfo& cluster_;
  const IncrementalBase& base_;
  const ReadingLimits& limits_;
  const std::stop_token stop_;
  std::vector<repository::FileEntry> before_;
  BackupStart start_;
  Changes changes_;
  std::optional<Audit> audit_;
};

}  // namespace holdfast::postgres
