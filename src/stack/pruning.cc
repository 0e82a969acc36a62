#include "stack/pruning.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "repository/unfinished_uploads.h"
#include "stack/coverage.h"

namespace holdfast::stack {
namespace {

using base::Error;
using base::ErrorKind;
using repository::BackupSummary;
using repository::Context;

// The storage as it will be without some objects, to ask what it holds then.
class Without final : public storage::Storage {
 public:
  // `inner` outlives it.
  Without(storage::Storage& inner, const std::vector<std::string>& hidden)
      : inner_(inner), hidden_(hidden.begin(), hidden.end()) {}

  storage::PutResult put(std::string_view name, base::ByteView, storage::Use) override {
    throw Error(ErrorKind::kRefused, fmt::format("{} cannot be put: this is a view", name));
  }
  std::optional<base::Bytes> get(std::string_view name, std::uint64_t max_size_bytes) override {
    if (hidden_.contains(name)) return std::nullopt;
    return inner_.get(name, max_size_bytes);
  }
  std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                  base::MutableByteView buffer) override {
    if (hidden_.contains(name)) return std::nullopt;
    return inner_.read(name, offset, buffer);
  }
  std::optional<storage::ObjectInfo> stat(std::string_view name) override {
    if (hidden_.contains(name)) return std::nullopt;
    return inner_.stat(name);
  }
  void list(std::string_view prefix,
            const std::function<void(const storage::ObjectInfo&)>& each) override {
    inner_.list(prefix, [&](const storage::ObjectInfo& info) {
      if (!hidden_.contains(info.name)) each(info);
    });
  }
  bool remove(std::string_view name) override {
    throw Error(ErrorKind::kRefused, fmt::format("{} cannot be removed: this is a view", name));
  }
  std::string describe() const override { return inner_.describe(); }

 private:
  storage::Storage& inner_;
  const std::set<std::string, std::less<>> hidden_;
};

class PruningRun {
 public:
  PruningRun(const Context& context, const Config& config, const PruningOptions& options,
             base::Progress& progress, std::stop_token stop)
      : context_(context),
        config_(config),
        options_(options),
        progress_(progress),
        stop_(std::move(stop)) {}

  Pruning run() {
    std::unique_ptr<repository::Lock> lock;
    if (!options_.dry_run) lock = repository::take_prune_lock(context_);
    result_.now = context_.clock.now();
    if (lock) {
      tell_of_clocks(result_.now - lock->since());
      result_.now = std::min(result_.now, lock->since());
      // Asked before the records are listed: who is not seen at work has put its own.
      for (const repository::HeldLock& other : lock->others()) {
        oldest_run_ = std::min(oldest_run_.value_or(other.since), other.since);
      }
    }
    find_backups();
    decide();
    keep_what_is_locked();
    choose_logs();
    find_windows();
    const repository::PruneRequest request = make_request();
    result_.report = lock ? repository::prune(context_, request, *lock, progress_, stop_)
                          : repository::plan_prune(context_, request, progress_, stop_);
    remove_unfinished_uploads(lock.get());
    if (lock) cover_what_stays(lock->since());
    result_.report.problems.insert(result_.report.problems.begin(), problems_.begin(),
                                   problems_.end());
    return std::move(result_);
  }

 private:
  std::vector<JobConfig> jobs_that_write_here() const {
    std::vector<JobConfig> jobs = config_.jobs;
    if (options_.repository.empty()) return jobs;
    std::erase_if(jobs, [&](const JobConfig& job) { return !writes_here(job); });
    return jobs;
  }

  bool writes_here(const JobConfig& job) const {
    const auto goes_here = [&](const ComponentConfig& component) {
      const auto places = config_.repositories_for(component, job.repositories);
      return std::find(places.begin(), places.end(), options_.repository) != places.end();
    };
    return goes_here({}) || std::any_of(config_.components.begin(), config_.components.end(),
                                        [&](const ComponentConfig& component) {
                                          return std::find(job.backup.begin(), job.backup.end(),
                                                           component.name) != job.backup.end() &&
                                                 goes_here(component);
                                        });
  }

  void tell_of_clocks(base::Duration ahead) {
    constexpr std::chrono::minutes kWorthAWord{10};
    if (ahead > -kWorthAWord && ahead < kWorthAWord) return;
    problems_.push_back(
        fmt::format("this host's clock is {} {} the storage's: the earlier one counts",
                    base::format_duration(ahead < base::Duration{} ? -ahead : ahead),
                    ahead < base::Duration{} ? "behind" : "ahead of"));
  }

  void find_backups() {
    progress_.phase("reading the records", 0);
    std::map<std::string, base::Time> stored;  // by the record's name
    context_.storage.list(
        "backups/", [&](const storage::ObjectInfo& info) { stored[info.name] = info.modified; });
    repository::Catalog catalog = repository::list_backups(context_);
    all_are_readable_ = catalog.damaged.empty();
    for (BackupSummary& summary : catalog.backups) {
      const auto time = stored.find(repository::record_name(summary.id));
      BackupInQuestion backup;
      backup.stored = time == stored.end() ? result_.now : time->second;  // put since
      backup.summary = std::move(summary);
      describe(backup);
      result_.backups.push_back({std::move(backup), {}});
    }
  }

  // A backup whose details cannot be read is good for nothing, but may be mended.
  void describe(BackupInQuestion& backup) {
    const auto component = find_component(backup.summary);
    if (!component) return;
    try {
      backup.good = component->is_good(backup.summary);
      backup.system = component->system_of(backup.summary);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kDamaged) throw;
      backup.good = false;
      all_are_readable_ = false;
      problems_.push_back(fmt::format("{}; no WAL is removed", error.what()));
    }
  }

  void decide() {
    std::vector<BackupInQuestion> backups;
    for (const PrunedBackup& item : result_.backups) backups.push_back(item.backup);
    const std::vector<BackupFate> fates =
        decide_on_backups(backups, jobs_that_write_here(), result_.now);
    for (std::size_t i = 0; i < fates.size(); ++i) result_.backups[i].fate = fates[i];
  }

  // A record that cannot be destroyed stays, and its backup with it.
  void keep_what_is_locked() {
    std::vector<std::string> records;
    for (const auto& [backup, fate] : result_.backups) {
      if (!fate.keep) records.push_back(repository::record_name(backup.summary.id));
    }
    const auto locked = repository::locked_objects(context_, records, result_.now, stop_);
    for (auto& [backup, fate] : result_.backups) {
      const auto lock = locked.find(repository::record_name(backup.summary.id));
      if (fate.keep || lock == locked.end()) continue;
      fate = {.keep = true, .why = "no longer, but it is locked", .until = lock->second};
      held_.insert(backup.summary.id);
      ++result_.locked_backups;
      note_lock(lock->second);
    }
  }

  void note_lock(base::Time until) {
    result_.next_unlocked = std::min(result_.next_unlocked.value_or(until), until);
  }

  void leave_out_locked_logs(LogRemoval& removal) {
    const auto locked = repository::locked_objects(context_, removal.objects, result_.now, stop_);
    if (locked.empty()) return;
    std::erase_if(removal.objects, [&](const std::string& name) { return locked.contains(name); });
    for (const auto& [name, until] : locked) note_lock(until);
    result_.locked_logs += locked.size();
    removal.bytes = 0;
    for (const std::string& name : removal.objects) {
      if (const auto info = context_.storage.stat(name)) removal.bytes += info->size_bytes;
    }
  }

  // Kind by kind: two components may be of the same cluster.
  void choose_logs() {
    if (!all_are_readable_) return;  // what they need is not known
    std::map<std::string, LogRetention> kinds;
    for (const auto& [backup, fate] : result_.backups) {
      if (fate.keep) kinds[backup.summary.type].kept.push_back({backup.summary, backup.ended()});
    }
    for (auto& [type, retention] : kinds) {
      const auto component = find_component(retention.kept.front().summary);
      if (!component) continue;
      retention.keep = config_.wal.keep;
      retention.now = result_.now;
      retention.oldest_run = oldest_run_;
      retention.other_systems = newest_systems_are_good(type);
      LogRemoval removal = component->logs_to_remove(context_, retention);
      leave_out_locked_logs(removal);
      result_.logs_bytes += removal.bytes;
      result_.logs.insert(result_.logs.end(), std::make_move_iterator(removal.objects.begin()),
                          std::make_move_iterator(removal.objects.end()));
    }
  }

  // Whether every component of the kind has a good backup of the system that it is now.
  bool newest_systems_are_good(const std::string& type) const {
    std::map<std::string, std::string> newest;  // the backups are sorted: the last one wins
    for (const auto& [backup, fate] : result_.backups) {
      if (backup.summary.type == type) newest[backup.summary.component] = backup.system;
    }
    return std::all_of(newest.begin(), newest.end(), [&](const auto& component) {
      return std::any_of(result_.backups.begin(), result_.backups.end(), [&](const auto& item) {
        return item.fate.keep && item.backup.good &&
               item.backup.summary.component == component.first &&
               item.backup.system == component.second;
      });
    });
  }

  void find_windows() {
    std::map<std::string, std::vector<BackupSummary>> kept;
    for (const auto& [backup, fate] : result_.backups) {
      if (fate.keep) kept[backup.summary.component].push_back(backup.summary);
    }
    Without afterwards(context_.storage, result_.logs);
    const Context context{afterwards, context_.keyring, context_.clock, context_.random,
                          context_.compression_level};
    for (const auto& [name, backups] : kept) {
      const auto component = find_component(backups.back());
      try {
        result_.windows[name] = component ? component->recovery_window(context, backups)
                                          : RecoveryWindow{.from = backups.front().finished,
                                                           .to = backups.back().finished};
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kDamaged) throw;
        problems_.push_back(
            fmt::format("the recovery window of {} cannot be told: {}", name, error.what()));
      }
    }
  }

  repository::PruneRequest make_request() const {
    repository::PruneRequest request;
    request.grace = options_.grace;
    request.wait_for_minimum = options_.wait_for_minimum;
    for (const auto& [backup, fate] : result_.backups) {
      if (!fate.keep) request.backups.push_back(backup.summary.id);
    }
    request.logs = result_.logs;
    return request;
  }

  void remove_unfinished_uploads(const repository::Lock* lock) {
    const base::Time now = lock == nullptr ? result_.now : lock->since();
    const repository::AbandonedUploads found =
        repository::abandoned_uploads(context_, now, options_.grace, oldest_run_);
    if (!found.problem.empty()) {
      result_.report.notes.push_back("unfinished uploads were not looked for: " + found.problem);
    }
    result_.uploads = found.uploads.size();
    if (lock == nullptr) return;
    try {
      repository::abort_uploads(context_, found.uploads);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kPermission) throw;
      result_.uploads = 0;
      result_.report.problems.push_back(fmt::format("unfinished uploads stay: {}", error.what()));
    }
  }

  void cover_what_stays(base::Time now) {
    std::vector<BackupSummary> stay;
    for (const auto& [backup, fate] : result_.backups) {
      if (fate.keep && !held_.contains(backup.summary.id)) stay.push_back(backup.summary);
    }
    result_.coverage = cover_backups(context_, stay, now, progress_, stop_);
    if (!result_.coverage) return;
    result_.report.problems.insert(result_.report.problems.end(),
                                   result_.coverage->problems.begin(),
                                   result_.coverage->problems.end());
  }

  const Context& context_;
  const Config& config_;
  const PruningOptions& options_;
  base::Progress& progress_;
  const std::stop_token stop_;
  bool all_are_readable_ = true;
  std::optional<base::Time> oldest_run_;
  std::set<std::string> held_;  // backups that stay for their locks alone
  std::vector<std::string> problems_;
  Pruning result_;
};

}  // namespace

Pruning prune_repository(const Context& context, const Config& config,
                         const PruningOptions& options, base::Progress& progress,
                         std::stop_token stop) {
  return PruningRun(context, config, options, progress, std::move(stop)).run();
}

}  // namespace holdfast::stack
