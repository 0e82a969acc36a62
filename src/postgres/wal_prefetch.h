// Fetching WAL ahead of a recovery, so that replay does not wait for each segment.
//
// The server asks for one segment after the other. Beside it, one process in the background fetches
// the next ones into a directory of their own in pg_wal, where neither the server nor a backup
// looks; the next calls only rename. The process ends with the recovery, or when nothing was asked
// for a while, and leaves nothing; one that was killed leaves what the next one removes. Nobody
// depends on it: what it has not fetched is fetched as without it, and only that call tells what is
// wrong.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/file.h"
#include "postgres/wal_name.h"
#include "repository/repository.h"

namespace holdfast::postgres {

// The directory in pg_wal. What is in it was authenticated and written whole; it counts for one
// repository, one system, and until the machine restarts, since nothing in it is fsynced (the
// server fsyncs what it takes).
class FetchedAhead {
 public:
  FetchedAhead(const std::filesystem::path& pg_wal, std::string_view repository,
               std::uint64_t system_id);

  // Moves a segment to its destination, after waiting for it where it is on its way. False where it
  // has to be fetched.
  bool take(const std::string& segment, const std::filesystem::path& destination) const;
  // Tells the process in the background how far the server is. False where none runs.
  bool follow(const std::string& segment) const;

  const std::filesystem::path& directory() const { return directory_; }
  std::filesystem::path position_file() const;
  std::filesystem::path place_of(const std::string& segment) const;
  // Removes all segments but those from `first` to `last`, which do not differ in their timelines.
  void remove_all_but(const std::string& first, const std::string& last) const;

 private:
  bool is_served() const;

  std::filesystem::path directory_;
  std::string tag_;
};

struct PrefetchOptions {
  std::uint64_t system_id = 0;
  std::uint32_t segment_size = 0;
  int most = 8;  // segments ahead; fewer where a segment is large
  int workers = 2;
};

// What the process in the background does, in the data directory, once the server has `segment`:
// returns when there is no more to do, at once if another one is at work there.
void prefetch_wal(const repository::Context& context, const FetchedAhead& ahead,
                  const PrefetchOptions& options, const std::string& segment);

// Removes what a process that was killed has left; for the time after a recovery.
void remove_fetched_ahead(const std::filesystem::path& pg_wal);

}  // namespace holdfast::postgres
