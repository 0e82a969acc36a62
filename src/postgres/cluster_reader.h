// Reads the files of a listing in parallel and stores them: the hot path of a backup.
#pragma once

#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/throttle.h"
#include "postgres/cluster_files.h"
#include "postgres/page_verifier.h"
#include "repository/chunk_writer.h"

namespace holdfast::postgres {

struct StoredFiles {
  std::vector<repository::FileEntry> entries;  // in the listing's order; what vanished is left out
  std::vector<BadPage> bad_pages;
  std::uint64_t bytes = 0;  // of all files
  std::uint64_t bytes_read = 0;
  std::uint64_t files = 0;

  void add(repository::FileEntry entry);  // counts it in
};

// The owner and the group of files, asked of the system once each.
class FileOwners {
 public:
  void name(repository::FileEntry& entry);  // fills in owner and group

 private:
  std::map<std::uint32_t, std::string> users_;
  std::map<std::uint32_t, std::string> groups_;
};
// A file's entry without its content.
repository::FileEntry entry_of(const ClusterFile& file, FileOwners& owners);

struct ReadingLimits {
  int workers = 2;
  base::Throttle& throttle;  // for all of them together
};

// Each of the worker threads takes stretches of 4 MiB, checks the pages (a page whose checksum is
// wrong is read again: the server may be writing it), and hands chunks of 128 pages to its writer.
// A file that shrinks while it is read is stored as far as it went, one that vanishes is left out:
// the WAL since the start of the backup says what became of it.
StoredFiles store_cluster_files(const ClusterInfo& cluster, const std::vector<ClusterFile>& files,
                                repository::ChunkStore& store, const ReadingLimits& limits,
                                base::Progress& progress, std::stop_token stop);

// One small file or text as an entry: pg_control, backup_label.
repository::FileEntry store_small_file(const ClusterFile& file, base::ByteView content,
                                       repository::ChunkStore::Writer& writer);

}  // namespace holdfast::postgres
