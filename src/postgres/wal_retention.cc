#include "postgres/wal_retention.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "postgres/replay_path.h"
#include "postgres/restore_plan.h"

namespace holdfast::postgres {
namespace {

using repository::Context;

struct ArchivedFile {
  std::string object;
  WalFileName name;
  std::uint64_t number = 0;  // of the segment that it is, or belongs to
  std::uint64_t size_bytes = 0;
  base::Time put;
};

struct Base {
  BackupDetails details;
  base::Time ended;
};

// A way from the oldest base that counts to the end of a timeline.
struct Path {
  TimelineHistory history;
  std::uint64_t first = 0;  // segment
};

class SystemRetention {
 public:
  SystemRetention(const Context& context, std::uint64_t system_id, const WalRetention& retention)
      : retention_(retention), wal_(list_wal(context, system_id)) {
    for (const WalRetention::Backup& backup : retention.kept) {
      Base base{details_of(backup.summary), backup.ended};
      if (base.details.system_id != system_id) continue;
      for (std::string& object : wal_objects_of(backup.summary)) needed_.insert(std::move(object));
      bases_.push_back(std::move(base));
    }
    if (wal_.segment_size != 0) find_files(context);
  }

  void add_to(WalRemoval& removal) {
    // What cannot be read may be a history, and so tell of what is needed.
    if (!wal_.damaged.empty()) return;
    if (bases_.empty() && (!retention_.keep || !retention_.other_systems)) return;
    find_paths();
    for (const ArchivedFile& file : files_) {
      if (is_young(file) || needed_.contains(file.object) || is_on_a_path(file)) continue;
      removal.objects.push_back(file.object);
      removal.bytes += file.size_bytes;
    }
  }

 private:
  void find_files(const Context& context) {
    context.storage.list(fmt::format("wal/{}/", wal_.system_id), [&](const storage::ObjectInfo&
                                                                         object) {
      const std::string_view text =
          std::string_view(object.name).substr(object.name.rfind('/') + 1);
      const std::optional<WalFileName> name = parse_wal_file_name(text);
      if (!name || name->kind == WalFileKind::kHistory) return;
      const auto segment = parse_segment_name(name->segment(), wal_.segment_size);
      if (!segment) return;
      files_.push_back({object.name, *name, segment->number, object.size_bytes, object.modified});
    });
  }

  base::Time cutoff() const { return retention_.now - *retention_.keep; }

  bool is_young(const ArchivedFile& file) const {
    return (retention_.keep && file.put > cutoff()) ||
           (retention_.oldest_run && file.put >= *retention_.oldest_run);
  }

  // Timelines to whose end one may want to recover: those that have WAL within the window, the
  // newest one, and that of the newest backup. Without a window, all.
  std::set<std::uint32_t> heads() const {
    std::set<std::uint32_t> heads;
    for (const auto& [timeline, wal] : wal_.timelines) {
      if (!retention_.keep) heads.insert(timeline);
    }
    for (const ArchivedFile& file : files_) {
      if (is_young(file)) heads.insert(file.name.timeline);
    }
    if (!wal_.timelines.empty()) heads.insert(wal_.timelines.rbegin()->first);
    const auto newest =
        std::max_element(bases_.begin(), bases_.end(),
                         [](const Base& a, const Base& b) { return a.ended < b.ended; });
    if (newest != bases_.end()) heads.insert(newest->details.timeline);
    return heads;
  }

  void find_paths() {
    if (bases_.empty()) return;
    for (const std::uint32_t timeline : heads()) {
      const TimelineHistory history = history_of(wal_, timeline);
      if (const auto first = first_segment(history)) {
        paths_.push_back({history, *first});
      } else if (!retention_.keep) {
        paths_.push_back({history, 0});  // no backup leads here; in doubt it stays
      }
    }
  }

  // Where the newest base that ended before the window begins; the oldest one's, where none did.
  std::optional<std::uint64_t> first_segment(const TimelineHistory& history) const {
    const Base* newest_before = nullptr;
    std::optional<Lsn> oldest;
    for (const Base& base : bases_) {
      const BackupDetails& details = base.details;
      if (!history.contains(details.timeline, details.stop_lsn)) continue;
      oldest = std::min(oldest.value_or(details.start_lsn), details.start_lsn);
      if (!retention_.keep || base.ended > cutoff()) continue;
      if (!newest_before || base.ended > newest_before->ended) newest_before = &base;
    }
    if (newest_before) oldest = newest_before->details.start_lsn;
    if (!oldest) return std::nullopt;
    return segment_number(*oldest, wal_.segment_size);
  }

  bool is_on_a_path(const ArchivedFile& file) const {
    return std::any_of(paths_.begin(), paths_.end(), [&](const Path& path) {
      if (file.number < path.first || !path.history.is_member(file.name.timeline)) return false;
      const std::optional<Lsn> end = path.history.end_of(file.name.timeline);
      return !end || file.number <= segment_number(*end, wal_.segment_size);
    });
  }

  const WalRetention& retention_;
  const WalInventory wal_;
  std::vector<Base> bases_;
  std::set<std::string> needed_;
  std::vector<ArchivedFile> files_;
  std::vector<Path> paths_;
};

}  // namespace

WalRemoval wal_to_remove(const Context& context, const WalRetention& retention) {
  WalRemoval removal;
  for (const std::uint64_t system_id : systems_with_wal(context)) {
    SystemRetention(context, system_id, retention).add_to(removal);
  }
  return removal;
}

}  // namespace holdfast::postgres
