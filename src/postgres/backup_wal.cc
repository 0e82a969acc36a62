#include "postgres/backup_wal.h"

#include <fmt/format.h>

#include "base/concurrency.h"
#include "base/error.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;

bool is_archived(const repository::Context& context, const ClusterInfo& cluster,
                 const std::string& file) {
  return repository::stat_log(context, wal_object_name(cluster.system_id, file)).has_value();
}

void complete_file(const repository::Context& context, const ClusterInfo& cluster,
                   const std::string& file, int threads) {
  // Also where the archiver was here before: it is refused if the repository holds other content
  // under that name, of a history that this cluster left.
  const fs::path path = fs::path(cluster.data_directory) / "pg_wal" / file;
  try {
    if (fs::exists(path)) {
      push_wal(context, path, threads, cluster.system_id);
      return;
    }
  } catch (const Error&) {
    if (fs::exists(path)) throw;  // else the server has removed it meanwhile
  }
  // The server may have archived it and removed it between the two looks.
  if (is_archived(context, cluster, file)) return;
  throw Error(
      ErrorKind::kFailed,
      fmt::format("the WAL file {}, which this backup needs, is neither in the repository "
                  "nor in pg_wal any more",
                  file),
      "see that archive_mode is on and archive_command runs 'holdfast wal push %p', or raise "
      "wal_keep_size; then back up again");
}

}  // namespace

std::vector<SegmentName> segments_between(std::uint32_t timeline, Lsn start, Lsn stop,
                                          std::uint32_t segment_size) {
  std::vector<SegmentName> segments;
  const std::uint64_t last = segment_number_before(stop, segment_size);
  for (std::uint64_t n = segment_number(start, segment_size); n <= last; ++n) {
    segments.push_back({timeline, n});
  }
  return segments;
}

void complete_wal(const repository::Context& context, const BackupWal& wal, int threads,
                  std::stop_token stop) {
  const std::uint32_t size = wal.cluster.wal_segment_size;
  if (wal.timeline > 1) {
    complete_file(context, wal.cluster, history_file_name(wal.timeline), threads);
  }
  for (const SegmentName& segment : segments_between(wal.timeline, wal.start, wal.stop, size)) {
    base::throw_if_stopped(stop);
    complete_file(context, wal.cluster, format_segment_name(segment, size), threads);
  }
}

std::vector<std::string> archiving_warnings(Connection& connection, const ClusterInfo& cluster) {
  if (cluster.archive_mode == "off") {
    return {
        "archive_mode is off: this backup can be brought back as it ended, but no later moment"};
  }
  const std::vector<Row> rows = connection.query(
      "SELECT last_failed_wal, last_failed_time FROM pg_stat_archiver WHERE last_failed_time > "
      "coalesce(last_archived_time, '-infinity')");
  if (rows.empty()) return {};
  return {fmt::format("PostgreSQL cannot archive its WAL: it last failed at {} with {}",
                      rows[0][1].value_or("?"), rows[0][0].value_or("?"))};
}

}  // namespace holdfast::postgres
