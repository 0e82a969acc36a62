// WAL in the repository: archive_command's and restore_command's side, and what is there.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "postgres/timeline.h"
#include "postgres/wal_name.h"
#include "repository/log_object.h"
#include "repository/repository.h"

namespace holdfast::postgres {

std::string wal_object_name(std::uint64_t system_id, std::string_view file_name);

enum class WalPush { kArchived, kAlreadyThere };
struct PushedWal {
  WalPush outcome = WalPush::kArchived;
  std::string object;  // its name
};

// Archives one segment, partial segment, timeline history or backup history file under its own
// name. Durable on return. kRefused where the name holds other content (nothing is changed);
// kFailed for a file that is not what its name says. The system identifier comes from the segment
// itself, for the other files from the data directory in which they lie, or `system_id` if given.
PushedWal push_wal(const repository::Context& context, const std::filesystem::path& path,
                   int threads, std::optional<std::uint64_t> system_id = {});

// Writes the file to `destination`, which appears whole (renamed; not fsynced, which the server
// does itself) or not at all. False if it is not in the repository.
bool fetch_wal(const repository::Context& context, std::uint64_t system_id,
               std::string_view file_name, const std::filesystem::path& destination);
// Where it is while it is being written.
std::filesystem::path unfinished_fetch(const std::filesystem::path& destination);

// The segments of one timeline that are in the repository; numbers count segments from LSN 0.
struct TimelineWal {
  std::uint32_t timeline = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>>
      runs;                                // first and last of each stretch without gap
  std::optional<TimelineHistory> history;  // none for the first timeline
  std::uint64_t segments = 0;
  std::uint64_t bytes_stored = 0;

  bool has(std::uint64_t number) const;
};

struct WalInventory {
  std::uint64_t system_id = 0;
  std::uint32_t segment_size = 0;  // 0: no segment is there
  std::map<std::uint32_t, TimelineWal> timelines;
  std::vector<std::string> damaged;  // objects that could not be read

  bool has(const SegmentName& segment) const;
};

// Systems that have WAL here.
std::vector<std::uint64_t> systems_with_wal(const repository::Context& context);
WalInventory list_wal(const repository::Context& context, std::uint64_t system_id);

// What one archived segment says of itself; nullopt if it is not there.
struct ArchivedSegment {
  Lsn start = 0;
  std::uint32_t segment_size = 0;
  Lsn last_record = 0;
  base::Time modified;  // when the server wrote it last
  std::optional<base::Time> first_commit;
  std::optional<base::Time> last_commit;
};
std::optional<ArchivedSegment> stat_segment(const repository::Context& context,
                                            std::uint64_t system_id, const SegmentName& segment,
                                            std::uint32_t segment_size);

}  // namespace holdfast::postgres
