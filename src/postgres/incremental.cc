#include "postgres/incremental.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "repository/chunk_reader.h"

namespace holdfast::postgres {
namespace {

using repository::FileEntry;

// Files in which the base has a page whose checksum was wrong are not built upon: the page may have
// been mended since.
bool is_suspect(const std::string& path, const BackupDetails& details) {
  return std::any_of(details.bad_pages.begin(), details.bad_pages.end(),
                     [&](const std::string& page) { return page.starts_with(path + " "); });
}

std::vector<FileEntry> files_before(const repository::Context& context,
                                    const repository::Index& index, const IncrementalBase& base) {
  repository::ChunkReader reader(context, index);
  std::vector<FileEntry> files;
  repository::load_file_table(base.record.file_table, reader, [&](FileEntry&& entry) {
    if (!is_suspect(entry.path, base.details)) files.push_back(std::move(entry));
  });
  return files;
}

// Whether pages of the base come from before a change of timelines.
bool has_other_pages(const IncrementalBase& base, const ClusterInfo& cluster) {
  return base.details.other_copy || base.details.timeline != cluster.timeline;
}

std::uint64_t bytes_to_read(const IncrementalPlan& plan, std::uint32_t page_size) {
  std::uint64_t bytes = 0;
  for (const ClusterFile& file : plan.whole) bytes += file.size_bytes;
  for (const PartialFile& file : plan.partial) bytes += file.taken.size() * page_size;
  return bytes;
}

}  // namespace

Incremental::Incremental(const repository::Context& context, const repository::Index& index,
                         const ClusterInfo& cluster, const IncrementalBase& base,
                         const ReadingLimits& limits, const Options& options)
    : context_(context),
      index_(index),
      cluster_(cluster),
      base_(base),
      limits_(limits),
      stop_(options.stop),
      before_(files_before(context, index, base)) {
  const AuditRequest request{.share = options.audit_share,
                             .from = base.details.audit_next,
                             .since = base.details.start_lsn,
                             .other_copy = has_other_pages(base, cluster)};
  audit_.emplace(context_, index_, cluster_, before_, request, limits_, stop_);
}

std::optional<std::string> Incremental::why_not(const IncrementalBase& base,
                                                const ClusterInfo& cluster) {
  const BackupDetails& before = base.details;
  const std::string& id = base.record.summary.id;
  if (before.system_id != cluster.system_id) return fmt::format("{} is of another cluster", id);
  if (!before.audit_differences.empty()) {
    return fmt::format("the audit in {} found changes that the WAL did not tell of", id);
  }
  if (before.version_num / 10000 != cluster.major() || before.block_size != cluster.block_size ||
      before.wal_segment_size != cluster.wal_segment_size) {
    return fmt::format("the cluster is of another make than when {} was taken", id);
  }
  if (before.checksums != cluster.checksums) {
    return fmt::format("data checksums were switched {} since {}", cluster.checksums ? "on" : "off",
                       id);
  }
  return std::nullopt;
}

std::optional<std::string> Incremental::why_not(const BackupStart& start) {
  start_ = start;
  WalStretch stretch;
  stretch.system_id = cluster_.system_id;
  stretch.from_timeline = base_.details.timeline;
  stretch.from = base_.details.start_lsn;
  stretch.previous_stop = base_.details.stop_lsn;
  stretch.to_timeline = start.timeline;
  stretch.to = start.lsn;
  stretch.segment_size = cluster_.wal_segment_size;
  stretch.data_directory = cluster_.data_directory;
  changes_ = changes_between(context_, stretch, limits_.workers, stop_);
  if (!changes_.diverged && start.lsn >= base_.details.stop_lsn) return std::nullopt;
  return fmt::format("the cluster did not come to {} by way of {} (its end: {} on timeline {})",
                     format_lsn(start.lsn), base_.record.summary.id,
                     format_lsn(base_.details.stop_lsn), base_.details.timeline);
}

IncrementalFiles Incremental::store(const std::vector<ClusterFile>& files,
                                    repository::ChunkStore& store, std::function<Lsn()> current_lsn,
                                    base::Progress& progress) {
  const bool by_maps = changes_.gap.empty();
  IncrementalPlan plan = plan_incremental(files, std::move(before_),
                                          by_maps ? &changes_.map : nullptr, cluster_.block_size);
  IncrementalFiles result;
  result.other_copy = has_other_pages(base_, cluster_);
  result.rebuilt =
      distrust_lost_chunks(plan, context_, index_, cluster_.block_size, limits_.workers, stop_);
  std::uint64_t looked_at = 0;
  if (!by_maps) {
    audit_.reset();
    looked_at = find_changed_pages(plan, base_.details.start_lsn, context_, index_, cluster_,
                                   limits_, progress, stop_);
  }
  progress.phase("reading", bytes_to_read(plan, cluster_.block_size));
  result.stored = store_cluster_files(cluster_, plan.whole, store, limits_, progress, stop_);
  if (audit_) {
    progress.phase("auditing", 0);
    result.audit = audit_->finish(plan, {start_.lsn, std::move(current_lsn)});
    looked_at = result.audit->pages * cluster_.block_size;
  }
  store_changed_pages(context_, index_, cluster_, plan.partial, store, limits_, result.stored,
                      progress, stop_);
  result.stored.bytes_read += looked_at;
  return result;
}

}  // namespace holdfast::postgres
