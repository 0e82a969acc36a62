#include "repository/copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <span>
#include <utility>

#include "base/parallel.h"
#include "repository/backup_needs.h"
#include "repository/copy_anew.h"
#include "repository/counted_storage.h"
#include "repository/object_copy.h"
#include "repository/prune.h"
#include "repository/publish.h"

namespace holdfast::repository {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::size_t kPacksPerIndex = 16;
constexpr std::uint64_t kMostInFlight = 96 * 1024 * 1024;  // bytes of objects

struct LogToSend {
  std::string name;
  std::uint64_t size_bytes = 0;
};

class CopyRun {
 public:
  CopyRun(const Context& from, const Context& to, const CopyOptions& options,
          const NeededLogs& needed_logs, base::Progress& progress, std::stop_token stop)
      : from_(from),
        plain_to_(to),
        counted_(to.storage),
        to_{counted_, to.keyring, to.clock, to.random, to.compression_level},
        options_(options),
        needed_logs_(needed_logs),
        progress_(progress),
        stop_(std::move(stop)),
        as_they_are_(share_keys(from.keyring, to.keyring)) {}

  void run(const std::function<void(CopiedBackup&&)>& copied) {
    for (const std::string& backup : options_.backups) {
      base::throw_if_stopped(stop_);
      CopiedBackup result;
      result.id = backup;
      const std::uint64_t objects_before = counted_.objects_put();
      const std::uint64_t bytes_before = counted_.bytes_put();
      try {
        copy(backup, result);
      } catch (Error& error) {
        if (error.kind() == ErrorKind::kInterrupted) throw;
        error.add_context(fmt::format("copying {}", backup));
        result.error = error;
      }
      result.objects_sent += counted_.objects_put() - objects_before;
      result.bytes_sent += counted_.bytes_put() - bytes_before;
      const bool ends = result.error && !concerns_one_backup(result.error->kind());
      copied(std::move(result));
      if (ends) return;
    }
  }

 private:
  static bool concerns_one_backup(ErrorKind kind) {
    return kind == ErrorKind::kDamaged || kind == ErrorKind::kNotFound ||
           kind == ErrorKind::kRefused;
  }

  void copy(const std::string& backup, CopiedBackup& result) {
    const BackupRecord record = get_record(from_, backup);
    result.already_there = is_there(record);
    if (result.already_there) return;
    if (!as_they_are_) require_reading();
    begin();
    const BackupNeeds needs = find_needs(record);
    if (options_.dry_run) {
      plan(needs, result);
    } else if (as_they_are_) {
      send(needs);
    } else {
      store(needs);
    }
  }

  void require_reading() const {
    if (from_.keyring.can_read_data()) return;
    throw Error(
        ErrorKind::kRefused,
        "the two repositories have different keys, so everything must be read and stored "
        "anew, and this key is write-only",
        "Use the full key of the repository that is copied from; or make the other one with "
        "`holdfast init` from a configuration that names both, so that they share keys.");
  }

  // The same backup. kRefused: another one of that id.
  bool is_there(const BackupRecord& record) const {
    if (!to_.storage.stat(record_name(record.summary.id))) return false;
    const auto comparable = [&](BackupRecord one) {
      one.indexes.clear();
      if (!as_they_are_) one.file_table.clear();
      return encode_record(one);
    };
    if (comparable(get_record(to_, record.summary.id)) == comparable(record)) return true;
    throw Error(ErrorKind::kRefused,
                fmt::format("{} holds another backup of that id", to_.storage.describe()),
                "Two components of that name were backed up in the same second: copy to a "
                "repository of its own.");
  }

  // Once, before the first backup that is to be sent: the locks, and then what is where.
  void begin() {
    if (from_index_) return;
    if (!options_.dry_run) take_locks();
    progress_.phase("reading the indexes", 0);
    from_index_ = Index::load(from_);
    to_index_ = Index::load(to_);
  }

  // Without its lock a prune of the source may remove what is being copied: that ends the copy with
  // an error, and leaves nothing wrong. So a source that can only be read is read.
  void take_locks() {
    const LockRequest request{.kind = "copy", .command = "holdfast copy"};
    try {
      from_lock_ = Lock::take(from_, request);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kPermission) throw;
      progress_.note(fmt::format("copying without a lock: {}", error.what()));
    }
    to_lock_ = Lock::take(plain_to_, request);
  }

  BackupNeeds find_needs(const BackupRecord& record) const {
    BackupNeeds needs = collect_needs(from_, *from_index_, record);
    const auto refuse = [&](std::string_view problem) {
      throw Error(
          ErrorKind::kDamaged,
          fmt::format("it is damaged in {}: {}", from_.storage.describe(), problem),
          fmt::format("See what is left of it with `holdfast verify {}`.", record.summary.id));
    };
    if (!needs.problems.empty()) {
      refuse(fmt::format("{} {}", needs.problems.front().object, needs.problems.front().what));
    }
    if (needs.lost_chunks > 0) {
      refuse(fmt::format("{} of its chunks are in no pack", needs.lost_chunks));
    }
    for (std::size_t slot = 0; slot < needs.slots.size(); ++slot) {
      const PackEntry& pack = from_index_->pack(from_index_->slots()[slot].location.pack);
      if (needs.needs(slot) && !pack.present) refuse(pack_name(pack.id) + " is missing or cut off");
    }
    return needs;
  }

  // The packs with chunks that the target does not hold.
  std::vector<std::uint32_t> packs_to_send(const BackupNeeds& needs) const {
    std::set<std::uint32_t> packs;
    for (std::size_t slot = 0; slot < needs.slots.size(); ++slot) {
      if (!needs.needs(slot)) continue;
      const Index::Slot& chunk = from_index_->slots()[slot];
      const PackEntry& pack = from_index_->pack(chunk.location.pack);
      if (!sent_.contains(pack.id) && !target_holds(chunk.id, pack.pack_class)) {
        packs.insert(chunk.location.pack);
      }
    }
    return {packs.begin(), packs.end()};
  }

  bool target_holds(const ChunkId& id, PackClass pack_class) const {
    if (to_index_->holds(id, pack_class)) return true;
    const auto location = to_index_->find(id);
    if (!location || !no_prune_) return false;
    const PackEntry& pack = to_index_->pack(location->pack);
    return pack.present && (pack_class == PackClass::kData || pack.pack_class == pack_class);
  }

  bool is_condemned(std::uint32_t pack) const {
    const PackId& id = from_index_->pack(pack).id;
    const auto& tombstones = to_index_->tombstones();
    return std::any_of(tombstones.begin(), tombstones.end(), [&](const Tombstone& tombstone) {
      return std::find(tombstone.packs.begin(), tombstone.packs.end(), id) != tombstone.packs.end();
    });
  }

  // A pack has one name in both repositories, so what the target's prune has condemned cannot be
  // put beside it under another name, as a backup would. No prune may run until the record says
  // that it is needed again.
  std::vector<std::uint32_t> packs_no_prune_removes(const BackupNeeds& needs) {
    std::vector<std::uint32_t> packs = packs_to_send(needs);
    const auto condemned = [&](std::uint32_t pack) { return is_condemned(pack); };
    if (no_prune_ || std::none_of(packs.begin(), packs.end(), condemned)) return packs;
    no_prune_ = take_prune_lock(plain_to_);
    to_index_ = Index::load(to_);
    return packs_to_send(needs);
  }

  std::vector<LogToSend> logs_to_send(const BackupSummary& backup) const {
    std::vector<LogToSend> logs;
    if (!needed_logs_) return logs;
    for (const std::string& name : needed_logs_(backup)) {
      base::throw_if_stopped(stop_);
      if (as_they_are_ && is_log_there(from_, to_, name)) continue;
      const auto info = from_.storage.stat(name);
      if (!info) {
        throw Error(ErrorKind::kDamaged, fmt::format("it needs {}, which is missing in {}", name,
                                                     from_.storage.describe()));
      }
      logs.push_back({name, info->size_bytes});
    }
    return logs;
  }

  void plan(const BackupNeeds& needs, CopiedBackup& result) {
    const auto add = [&](std::uint64_t bytes) {
      ++result.objects_sent;
      result.bytes_sent += bytes;
    };
    for (const std::uint32_t pack : packs_to_send(needs)) {
      add(from_index_->pack(pack).size_bytes);
      sent_.insert(from_index_->pack(pack).id);
    }
    for (const LogToSend& log : logs_to_send(needs.record->summary)) add(log.size_bytes);
  }

  void send(const BackupNeeds& needs) {
    send_packs(packs_no_prune_removes(needs));
    const std::vector<LogToSend> logs = logs_to_send(needs.record->summary);
    const auto size = [&](std::size_t n) { return logs[n].size_bytes; };
    share_out("copying the logs", logs.size(), size, [&](ObjectCopier& copier, std::size_t n) {
      copier.copy_log(logs[n].name, logs[n].size_bytes);
    });
    BackupRecord record = *needs.record;
    record.indexes = indexes_;
    publish(record);
  }

  void send_packs(const std::vector<std::uint32_t>& packs) {
    const auto entry = [&](std::size_t n) -> const PackEntry& {
      return from_index_->pack(packs[n]);
    };
    base::Guarded<std::vector<Index::PackContents>> not_indexed;
    base::Guarded<std::vector<IndexId>> indexes;
    const auto size = [&](std::size_t n) { return entry(n).size_bytes; };
    share_out("copying the packs", packs.size(), size, [&](ObjectCopier& copier, std::size_t n) {
      Index::PackContents contents = copier.copy_pack(entry(n));
      std::vector<Index::PackContents> full;
      {
        auto waiting = not_indexed.lock();
        waiting->push_back(std::move(contents));
        if (waiting->size() >= kPacksPerIndex) full.swap(*waiting);
      }
      if (full.empty()) return;
      const IndexId id = put_index(to_, full);
      indexes.lock()->push_back(id);
    });
    const std::vector<IndexId> put = std::move(*indexes.lock());
    indexes_.insert(indexes_.end(), put.begin(), put.end());
    const std::vector<Index::PackContents> rest = std::move(*not_indexed.lock());
    name_packs(rest);
    // What killed runs have left, and this one may build on.
    if (!std::exchange(adopted_are_named_, true)) name_packs(to_index_->adopted());
    for (const std::uint32_t pack : packs) sent_.insert(from_index_->pack(pack).id);
  }

  void name_packs(std::span<const Index::PackContents> packs) {
    for (; !packs.empty(); packs = packs.subspan(std::min(kPacksPerIndex, packs.size()))) {
      indexes_.push_back(put_index(to_, packs.first(std::min(kPacksPerIndex, packs.size()))));
    }
  }

  // Calls body(copier, n) for each n below `count` on as many threads as memory allows.
  template <typename Size, typename Body>
  void share_out(std::string_view phase, std::size_t count, Size size, Body body) {
    std::uint64_t total = 0;
    std::uint64_t largest = 1;
    for (std::size_t n = 0; n < count; ++n) {
      total += size(n);
      largest = std::max(largest, size(n));
    }
    progress_.phase(phase, total);
    const int wanted = std::max(
        {options_.workers, from_.storage.requests_at_once(), to_.storage.requests_at_once()});
    const auto bound = static_cast<int>(std::min<std::uint64_t>(kMostInFlight / largest, 1000));
    base::share_out(count, std::clamp(bound, 1, wanted), stop_, [&] {
      return [&, copier = ObjectCopier(from_, to_)](std::size_t n) mutable {
        body(copier, n);
        progress_.advance(size(n));
      };
    });
  }

  void store(const BackupNeeds& needs) {
    const BackupRecord record =
        store_anew(from_, *from_index_, needs, to_, *to_index_, options_.workers, progress_, stop_);
    progress_.phase("copying the logs", 0);
    for (const LogToSend& log : logs_to_send(record.summary)) {
      base::throw_if_stopped(stop_);
      store_log_anew(from_, to_, log.name, options_.workers);
    }
    publish(record);
    to_index_ = Index::load(to_);  // the next one shares with this one
  }

  void publish(const BackupRecord& record) {
    if (no_prune_) no_prune_->require();
    if (publish_record(to_, record, *to_index_, *to_lock_) == storage::PutResult::kExists) {
      is_there(record);  // by another run, meanwhile
    }
    if (const std::string problem = to_lock_->problem(); !problem.empty()) {
      progress_.warning(fmt::format("the lock could not be kept alive: {}", problem));
    }
  }

  const Context& from_;
  const Context& plain_to_;
  CountedStorage counted_;
  const Context to_;  // counted
  const CopyOptions& options_;
  const NeededLogs& needed_logs_;
  base::Progress& progress_;
  const std::stop_token stop_;
  const bool as_they_are_;
  std::unique_ptr<Lock> from_lock_;
  std::unique_ptr<Lock> to_lock_;
  std::unique_ptr<Lock> no_prune_;  // where something condemned is needed again
  std::optional<Index> from_index_;
  std::optional<Index> to_index_;
  bool adopted_are_named_ = false;
  std::set<PackId> sent_;         // by this run; not in to_index_
  std::vector<IndexId> indexes_;  // that this run has put
};

}  // namespace

bool share_keys(const Keyring& a, const Keyring& b) {
  const auto same = [](base::ByteView x, base::ByteView y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end());
  };
  return a.repository == b.repository && same(a.identity.bytes(), b.identity.bytes()) &&
         same(a.metadata.bytes(), b.metadata.bytes());
}

void copy_backups(const Context& from, const Context& to, const CopyOptions& options,
                  const NeededLogs& needed_logs, const std::function<void(CopiedBackup&&)>& copied,
                  base::Progress& progress, std::stop_token stop) {
  CopyRun(from, to, options, needed_logs, progress, std::move(stop)).run(copied);
}

}  // namespace holdfast::repository
