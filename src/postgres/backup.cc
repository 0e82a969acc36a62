#include "postgres/backup.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/file.h"
#include "postgres/backup_details.h"
#include "postgres/backup_session.h"
#include "postgres/backup_wal.h"
#include "postgres/control_file.h"
#include "postgres/incremental.h"
#include "repository/backup_run.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;
using repository::BackupRecord;
using repository::BackupSummary;
using repository::Context;
using repository::FileEntry;

constexpr std::size_t kControlFileSize = 8192;  // PG_CONTROL_FILE_SIZE

void require_local_primary(const ClusterInfo& cluster, const Connection& connection) {
  if (cluster.in_recovery) {
    throw Error(ErrorKind::kRefused, "the server is a standby: connect to its primary");
  }
  const bool readable =
      ::access((fs::path(cluster.data_directory) / "PG_VERSION").c_str(), R_OK) == 0;
  if (readable) return;
  const std::string where = connection.is_local() ? "" : " (the server is on another host)";
  throw Error(
      ErrorKind::kPermission,
      fmt::format("the data directory {} cannot be read here{}", cluster.data_directory, where),
      "run on the server's own host as the user that the server runs as, or as root");
}

// The newest backup of the component, which must be of the same cluster.
std::optional<IncrementalBase> backup_before(std::optional<BackupRecord> record,
                                             const BackupRequest& request,
                                             const ClusterInfo& cluster) {
  if (!record) return std::nullopt;
  BackupDetails details = details_of(record->summary);
  if (details.system_id != cluster.system_id && !request.accept_new_system) {
    throw Error(
        ErrorKind::kRefused,
        fmt::format("{} was the cluster with system identifier {} until now; this one is {}",
                    request.component, details.system_id, cluster.system_id),
        "after pg_upgrade or a rebuild, say --accept-new-system once; the old cluster's "
        "backups stay");
  }
  return IncrementalBase{std::move(*record), std::move(details)};
}

// The server rewrites it in place: read until a reading is not torn.
base::Bytes read_control_file(const ClusterInfo& cluster) {
  constexpr int kReadings = 100;
  const fs::path path = fs::path(cluster.data_directory) / "global" / "pg_control";
  for (int reading = 0; reading < kReadings; ++reading) {
    base::Bytes content = base::read_file(path, kControlFileSize * 2);
    if (is_control_file_whole(content)) return content;
  }
  throw Error(ErrorKind::kFailed, "the checksum of global/pg_control is wrong",
              "the server will not start again from it: look into the server's log");
}

FileEntry store_control_file(const ClusterInfo& cluster, repository::ChunkStore::Writer& writer) {
  const std::optional<ClusterFile> file = stat_cluster_file(cluster, "global/pg_control");
  if (!file) throw Error(ErrorKind::kFailed, "global/pg_control is not there");
  return store_small_file(*file, read_control_file(cluster), writer);
}

FileEntry store_backup_label(const ClusterInfo& cluster, const BackupStop& stop,
                             repository::ChunkStore::Writer& writer) {
  std::optional<ClusterFile> file = stat_cluster_file(cluster, "PG_VERSION");
  if (!file) throw Error(ErrorKind::kFailed, "PG_VERSION is not there");
  file->path = "backup_label";
  file->mode = 0600;
  file->modified = stop.time;
  return store_small_file(*file, base::as_bytes(stop.backup_label), writer);
}

// "base/5/16384 block 12 (public.trades in shop)".
std::string describe_page(const BackupRequest& request, const ClusterInfo& cluster,
                          const BadPage& page) {
  std::string text = fmt::format("{} block {}", page.path, page.block);
  const std::string file = page.path.substr(page.path.rfind('/') + 1);
  const std::optional<RelationFile> relation = parse_relation_file(file);
  const std::string directory = page.path.substr(0, page.path.rfind('/'));
  const std::string database_oid = directory.substr(directory.rfind('/') + 1);
  for (const auto& [oid, name] : cluster.databases) {
    if (!relation || std::to_string(oid) != database_oid) continue;
    try {
      Connection connection(request.connection, name);
      const std::string tablespace = page.path.starts_with("pg_tblspc/")
                                         ? page.path.substr(10, page.path.find('/', 10) - 10)
                                         : "0";
      text +=
          fmt::format(" ({} in {})",
                      connection.value("SELECT pg_filenode_relation($1::oid, $2::oid)::regclass",
                                       {tablespace, std::to_string(relation->number)}),
                      name);
    } catch (const Error&) {
      text += fmt::format(" (in {})", name);  // the path says it exactly; the name is a courtesy
    }
  }
  return text;
}

class ClusterBackup {
 public:
  ClusterBackup(const Context& context, const BackupRequest& request, repository::BackupRun& run,
                base::Progress& progress, std::stop_token stop)
      : context_(context),
        request_(request),
        run_(run),
        progress_(progress),
        stop_(std::move(stop)),
        connection_(request.connection) {
    summary_.kind = "full";
    connection_.obey(stop_);
  }

  BackupSummary run() {
    cluster_ = describe_cluster(connection_);
    require_local_primary(cluster_, connection_);
    before_ = backup_before(run_.take_newest(), request_, cluster_);
    run_.begin(summary_);
    const repository::Index& index = run_.index();

    base::Throttle throttle(request_.rate_bytes);
    const ReadingLimits limits{request_.workers, throttle};
    std::optional<Incremental> incremental;
    begin_incremental(index, limits, incremental);
    if (request_.hold_wal) hold_wal_in_server();
    progress_.phase("waiting for the checkpoint", 0);
    const BackupStart start = start_backup(connection_, "holdfast " + summary_.id);
    if (incremental && !may_be_incremental(*incremental, start)) incremental.reset();
    repository::ChunkStore store(context_, index, {});
    StoredFiles stored =
        incremental ? store_changes(*incremental, store) : store_files(limits, store);
    const std::unique_ptr<repository::ChunkStore::Writer> writer = store.new_writer();
    stored.entries.push_back(store_control_file(cluster_, *writer));
    const BackupStop stop = stop_backup(connection_);
    stored.entries.push_back(store_backup_label(cluster_, stop, *writer));
    archive_wal(start, stop);

    BackupRecord record;
    record.file_table = store_table(stored, *writer);
    writer->finish();
    progress_.phase("writing the last packs", 0);
    record.indexes = store.finish();
    fill_summary(stored, store.statistics(), start, stop);
    record.summary = summary_;
    run_.publish(record, stop_);
    return record.summary;
  }

 private:
  // Without it the WAL may be gone at the end, which is an error then.
  void hold_wal_in_server() {
    try {
      hold_wal(connection_);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kInterrupted) throw;
      progress_.note(fmt::format("{}: the server will not hold its WAL for this backup: {}",
                                 request_.component, error.what()));
    }
  }

  void begin_incremental(const repository::Index& index, const ReadingLimits& limits,
                         std::optional<Incremental>& incremental) {
    if (!request_.incremental) return;
    if (is_full_because(before_ ? Incremental::why_not(*before_, cluster_)
                                : std::optional<std::string>("there is no backup to build on"))) {
      return;
    }
    try {
      incremental.emplace(context_, index, cluster_, *before_, limits,
                          Incremental::Options{request_.audit_share, stop_});
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kDamaged) throw;
      is_full_because(fmt::format("the files of {} cannot be read: {}", before_->record.summary.id,
                                  error.what()));
    }
  }
  bool may_be_incremental(Incremental& incremental, const BackupStart& start) {
    progress_.phase("collecting the change maps", 0);
    return !is_full_because(incremental.why_not(start));
  }
  bool is_full_because(std::optional<std::string> reason) {
    if (!reason) return false;
    why_method_ = std::move(*reason);
    progress_.note(
        fmt::format("{}: this is a full backup, because {}", request_.component, why_method_));
    return true;
  }

  ClusterListing list_files() {
    ClusterListing listing = list_cluster_files(cluster_);
    for (const std::string& note : listing.notes) progress_.note(note);
    return listing;
  }

  StoredFiles store_files(const ReadingLimits& limits, repository::ChunkStore& store) {
    const ClusterListing listing = list_files();
    std::uint64_t total = 0;
    for (const ClusterFile& file : listing.files) total += file.size_bytes;
    progress_.phase("reading", total);
    return store_cluster_files(cluster_, listing.files, store, limits, progress_, stop_);
  }

  StoredFiles store_changes(Incremental& incremental, repository::ChunkStore& store) {
    summary_.kind = "incremental";
    method_ = "change maps";
    if (!incremental.gap().empty()) {
      method_ = "page LSNs";
      why_method_ = incremental.gap();
      progress_.note(
          fmt::format("{}: every page is looked at, because {}", request_.component, why_method_));
    }
    const ClusterListing listing = list_files();
    const auto current_lsn = [this] {
      return parse_lsn(connection_.value("SELECT pg_current_wal_insert_lsn()")).value_or(0);
    };
    IncrementalFiles files = incremental.store(listing.files, store, current_lsn, progress_);
    other_copy_ = files.other_copy;
    for (const std::string& path : files.rebuilt) {
      warn(fmt::format("{} was stored anew: the repository has lost a part of what {} had of it",
                       path, summary_.previous));
    }
    audit_ = std::move(files.audit);
    return std::move(files.stored);
  }

  void archive_wal(const BackupStart& start, const BackupStop& stop) {
    progress_.phase("archiving the backup's WAL", 0);
    const BackupWal wal{cluster_, start.timeline, start.lsn, stop.lsn};
    complete_wal(context_, wal, request_.workers, stop_);
    for (std::string& warning : archiving_warnings(connection_, cluster_)) warn(std::move(warning));
  }

  static std::vector<repository::ChunkId> store_table(StoredFiles& stored,
                                                      repository::ChunkStore::Writer& writer) {
    std::sort(stored.entries.begin(), stored.entries.end(),
              [](const FileEntry& a, const FileEntry& b) { return a.path < b.path; });
    return repository::store_file_table(stored.entries, writer);
  }

  void fill_summary(const StoredFiles& stored, const repository::StoreStatistics& statistics,
                    const BackupStart& start, const BackupStop& stop) {
    summary_.type = "postgresql";
    summary_.job = request_.job;
    summary_.bytes = stored.bytes;
    summary_.bytes_read = stored.bytes_read;
    summary_.bytes_stored = statistics.bytes_stored;
    summary_.files = stored.files;

    BackupDetails details;
    details.version_num = cluster_.version_num;
    details.version = cluster_.version;
    details.system_id = cluster_.system_id;
    details.timeline = start.timeline;
    details.start_lsn = start.lsn;
    details.stop_lsn = stop.lsn;
    details.stop_time = stop.time;
    details.block_size = cluster_.block_size;
    details.wal_segment_size = cluster_.wal_segment_size;
    details.checksums = cluster_.checksums;
    details.data_directory = cluster_.data_directory;
    details.config_file = cluster_.config_file;
    details.tablespaces = cluster_.tablespaces;
    details.databases = cluster_.databases;
    for (const BadPage& page : stored.bad_pages) {
      details.bad_pages.push_back(describe_page(request_, cluster_, page));
      warn("the checksum of a page is wrong: " + details.bad_pages.back());
    }
    details.method = method_;
    details.why_method = why_method_;
    details.other_copy = other_copy_;
    add_audit(details);
    summary_.details_key = "postgresql";
    summary_.details_json = details_to_json(details);
  }

  void add_audit(BackupDetails& details) {
    if (before_) details.audit_next = before_->details.audit_next;
    if (!audit_) return;
    details.audited_pages = audit_->pages;
    details.audit_next = audit_->next;
    details.unjudged_pages = audit_->unjudged;
    if (audit_->frozen > 0) {
      progress_.note(
          fmt::format("{}: {} pages were not audited: what the repository has of them is frozen",
                      request_.component, audit_->frozen));
    }
    if (audit_->unjudged > 0) {
      progress_.note(
          fmt::format("{}: {} pages differ from the backup before, in hint bits or more: "
                      "only a credential that can read could tell",
                      request_.component, audit_->unjudged));
    }
    for (const BadPage& page : audit_->differences) {
      details.audit_differences.push_back(describe_page(request_, cluster_, page));
      warn(
          fmt::format("{} changed without a word in the WAL: this backup holds the page as it is "
                      "now, but may lack others; the next one will be full",
                      details.audit_differences.back()));
    }
  }

  void warn(std::string text) { summary_.warnings.push_back(std::move(text)); }

  const Context& context_;
  const BackupRequest& request_;
  repository::BackupRun& run_;
  base::Progress& progress_;
  std::stop_token stop_;
  Connection connection_;
  ClusterInfo cluster_;
  BackupSummary summary_;
  std::optional<IncrementalBase> before_;
  std::string method_;
  std::string why_method_;
  bool other_copy_ = false;
  std::optional<AuditResult> audit_;
};

}  // namespace

BackupSummary take_backup(const Context& context, const BackupRequest& request,
                          base::Progress& progress, std::stop_token stop) {
  repository::BackupRun run(context, request.component, progress);
  BackupSummary summary = ClusterBackup(context, request, run, progress, std::move(stop)).run();
  run.end(summary);
  return summary;
}

}  // namespace holdfast::postgres
