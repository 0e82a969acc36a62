#include "repository/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <set>

#include "base/concurrency.h"
#include "base/error.h"
#include "repository/backup_needs.h"
#include "repository/chunk_reader.h"
#include "repository/cold_packs.h"
#include "repository/format_object.h"
#include "repository/log_object.h"
#include "repository/pack_format.h"
#include "repository/sealed_object.h"

namespace holdfast::repository {
namespace {

constexpr std::string_view kMissing = "is missing";

// What is found, by many threads: one entry for each object and backup, the first problem.
class Findings {
 public:
  void add(const std::string& object, const std::string& backup, std::string_view problem) {
    auto items = items_.lock();
    items->emplace(std::pair(object, backup), std::string(problem));
  }
  void add_frozen(const std::string& object, const std::string& backup) {
    frozen_.lock()->emplace(object, backup);
  }
  std::vector<Damage> take_frozen() {
    std::vector<Damage> frozen;
    for (const auto& [object, backup] : *frozen_.lock()) {
      frozen.push_back({object, backup, "is frozen: it must be thawed before it can be read"});
    }
    return frozen;
  }
  std::vector<Damage> take() {
    std::vector<Damage> damaged;
    for (auto& [key, problem] : *items_.lock()) {
      damaged.push_back({key.first, key.second, std::move(problem)});
    }
    return damaged;
  }
  bool has(const std::string& object) {
    auto items = items_.lock();
    const auto place = items->lower_bound({object, ""});
    return place != items->end() && place->first.first == object;
  }

 private:
  base::Guarded<std::map<std::pair<std::string, std::string>, std::string>> items_;
  base::Guarded<std::set<std::pair<std::string, std::string>>> frozen_;
};

// The chunks of one pack that are needed: a stretch of the list of all needed slots.
struct PackTask {
  std::uint32_t pack = 0;
  std::span<const std::uint32_t> slots;
};

class Verification {
 public:
  Verification(const Context& context, const VerifyOptions& options, const NeededLogs& needed_logs,
               base::Progress& progress, std::stop_token stop)
      : context_(context),
        options_(options),
        needed_logs_(needed_logs),
        progress_(progress),
        stop_(std::move(stop)),
        index_(Index::load(context)) {}

  VerifyReport run();

 private:
  void check_format();
  void check_key_slots();
  void check_reports();
  void collect();
  void plan_packs();
  void leave_out_what_is_frozen();
  void check_in_parallel();
  void check_pack(const PackTask& task, ChunkReader& reader, base::Bytes& buffer);
  void check_log(const std::string& name, const std::vector<std::string>& backups);
  void check_index_objects();
  void blame_indexes(const BackupNeeds& needs);
  std::set<std::uint32_t> adopted_packs_of(const BackupNeeds& needs) const;
  std::set<std::string> indexes_lost_to(const BackupNeeds& needs,
                                        const std::set<std::uint32_t>& adopted) const;
  std::set<std::string> unusable_indexes(const std::vector<IndexId>& ids) const;
  std::set<std::string> unusable_indexes_of_all_backups() const;
  std::set<std::string> packs_that_cannot_be_adopted() const;
  void report_slot(std::size_t slot, std::string_view problem);

  const Context& context_;
  const VerifyOptions& options_;
  const NeededLogs& needed_logs_;
  base::Progress& progress_;
  const std::stop_token stop_;
  const Index index_;
  std::map<std::string, std::string> index_problems_;  // by object
  std::set<std::string> index_names_;                  // in storage
  std::vector<BackupNeeds> backups_;
  std::vector<std::uint32_t> needed_slots_;  // by pack and place in it
  std::vector<PackTask> packs_;
  std::vector<std::pair<std::string, std::vector<std::string>>> logs_;  // and who needs each
  Findings findings_;
  std::atomic<std::uint64_t> checked_{0};
};

VerifyReport Verification::run() {
  VerifyReport report;
  report.started = context_.clock.now();
  for (const Index::Problem& problem : index_.problems()) {
    index_problems_.emplace(problem.object, problem.what);
  }
  check_format();
  check_key_slots();
  if (!options_.quick) check_reports();
  collect();
  plan_packs();
  if (!options_.quick) leave_out_what_is_frozen();
  check_in_parallel();
  check_index_objects();
  report.damaged = findings_.take();
  report.frozen = findings_.take_frozen();
  report.checked = checked_;
  report.finished = context_.clock.now();
  return report;
}

void Verification::check_format() {
  ++checked_;
  try {
    const std::optional<FormatObject> format = load_format(context_.storage);
    if (!format) {
      findings_.add("format", "", kMissing);
    } else if (!authenticates(*format, context_.keyring)) {
      findings_.add("format", "", "does not authenticate");
    }
  } catch (const base::Error& error) {
    // The repository was opened, so a version that this program does not know is damage too.
    if (!is_damage(error) && error.kind() != base::ErrorKind::kFailed) throw;
    findings_.add("format", "", error.what());
  }
}

void Verification::check_key_slots() {
  std::vector<std::string> damaged;
  const std::vector<KeySlot> slots = list_key_slots(context_.storage, &damaged);
  checked_ += slots.size() + damaged.size();
  if (findings_.has("format")) return;  // which tells whose slots they are
  for (const std::string& name : damaged) {
    findings_.add(name, "", "is no key slot of this repository, or was written to");
  }
  if (damaged.empty() &&
      std::none_of(slots.begin(), slots.end(), [](const KeySlot& slot) { return slot.full; })) {
    findings_.add("keys/", "", "no key slot with full rights is left");
  }
}

void Verification::check_reports() {
  std::vector<std::string> names;
  context_.storage.list("reports/",
                        [&](const storage::ObjectInfo& info) { names.push_back(info.name); });
  checked_ += names.size();
  for (const std::string& name : names) {
    try {
      get_metadata(context_, name, MetadataKind::kReport);
    } catch (const base::Error& error) {
      if (!is_damage(error)) throw;
      findings_.add(name, "", error.what());
    }
  }
}

void Verification::collect() {
  progress_.phase("reading file tables", 0);
  std::map<std::string, std::vector<std::string>> logs;
  for (const std::string& backup : options_.backups) {
    base::throw_if_stopped(stop_);
    ++checked_;
    const BackupNeeds& needs = backups_.emplace_back(collect_needs(context_, index_, backup));
    for (const Index::Problem& problem : needs.problems) {
      findings_.add(problem.object, backup, problem.what);
    }
    if (!needs.record || !needed_logs_) continue;
    for (const std::string& log : needed_logs_(needs.record->summary)) logs[log].push_back(backup);
  }
  logs_.assign(std::make_move_iterator(logs.begin()), std::make_move_iterator(logs.end()));
}

void Verification::plan_packs() {
  const std::vector<Index::Slot>& slots = index_.slots();
  for (std::uint32_t slot = 0; slot < slots.size(); ++slot) {
    if (std::any_of(backups_.begin(), backups_.end(),
                    [&](const BackupNeeds& needs) { return needs.needs(slot); })) {
      needed_slots_.push_back(slot);
    }
  }
  const auto place = [&](std::uint32_t slot) {
    return std::pair(slots[slot].location.pack, slots[slot].location.number);
  };
  std::sort(needed_slots_.begin(), needed_slots_.end(),
            [&](std::uint32_t a, std::uint32_t b) { return place(a) < place(b); });
  std::size_t begin = 0;
  for (std::size_t i = 0; i < needed_slots_.size(); ++i) {
    const std::uint32_t pack = place(needed_slots_[i]).first;
    if (i + 1 < needed_slots_.size() && place(needed_slots_[i + 1]).first == pack) continue;
    packs_.push_back({pack, std::span(needed_slots_).subspan(begin, i + 1 - begin)});
    begin = i + 1;
  }
}

void Verification::leave_out_what_is_frozen() {
  std::vector<std::uint32_t> packs;
  for (const PackTask& task : packs_) packs.push_back(task.pack);
  const std::vector<std::uint32_t> frozen = packs_not_readable(context_, index_, packs, stop_);
  std::erase_if(packs_, [&](const PackTask& task) {
    if (!std::binary_search(frozen.begin(), frozen.end(), task.pack)) return false;
    for (const BackupNeeds& needs : backups_) {
      if (std::any_of(task.slots.begin(), task.slots.end(),
                      [&](std::uint32_t slot) { return needs.needs(slot); })) {
        findings_.add_frozen(pack_name(index_.pack(task.pack).id), needs.backup);
      }
    }
    return true;
  });
}

void Verification::check_in_parallel() {
  std::uint64_t total_bytes = 0;
  for (const PackTask& task : packs_) {
    for (const std::uint32_t slot : task.slots) {
      total_bytes += index_.slots()[slot].location.stored_length;
    }
  }
  progress_.phase("verifying", options_.quick ? 0 : total_bytes);
  std::atomic<std::size_t> next{0};
  base::WorkerGroup workers(stop_);
  for (int i = 0; i < std::max(1, options_.workers); ++i) {
    workers.start([&](const std::stop_token& stop) {
      ChunkReader reader(context_, index_);
      base::Bytes buffer(options_.quick ? 0 : kMaxChunkSize);
      for (std::size_t task = next++; task < packs_.size() + logs_.size(); task = next++) {
        base::throw_if_stopped(stop);
        ++checked_;
        if (task < packs_.size()) {
          check_pack(packs_[task], reader, buffer);
        } else {
          const auto& [name, backups] = logs_[task - packs_.size()];
          check_log(name, backups);
        }
      }
    });
  }
  workers.join();
}

void Verification::check_pack(const PackTask& task, ChunkReader& reader, base::Bytes& buffer) {
  const PackEntry& pack = index_.pack(task.pack);
  if (!pack.present) {
    const auto problem = index_problems_.find(pack_name(pack.id));
    for (const std::uint32_t slot : task.slots) {
      report_slot(slot, problem == index_problems_.end() ? kMissing : problem->second);
    }
    return;
  }
  if (options_.quick) return;
  for (const std::uint32_t slot : task.slots) {
    base::throw_if_stopped(stop_);
    try {
      reader.read_and_check_id(index_.slots()[slot].id, buffer);
    } catch (const base::Error& error) {
      if (!is_damage(error)) throw;
      report_slot(slot, error.what());
    }
    progress_.advance(index_.slots()[slot].location.stored_length);
  }
}

// A chunk's damage is its pack's, for every backup that needs the chunk.
void Verification::report_slot(std::size_t slot, std::string_view problem) {
  const std::string object = pack_name(index_.pack(index_.slots()[slot].location.pack).id);
  for (const BackupNeeds& needs : backups_) {
    if (needs.needs(slot)) findings_.add(object, needs.backup, problem);
  }
}

void Verification::check_log(const std::string& name, const std::vector<std::string>& backups) {
  std::string problem;
  try {
    const std::optional<LogInfo> log =
        options_.quick ? stat_log(context_, name)
                       : read_log(
                             context_, name, [&](base::ByteView) { base::throw_if_stopped(stop_); },
                             LogCheck::kDigest);
    if (log) return;
    problem = kMissing;
  } catch (const base::Error& error) {
    if (!is_damage(error)) throw;
    problem = error.what();
  }
  for (const std::string& backup : backups) findings_.add(name, backup, problem);
}

void Verification::check_index_objects() {
  context_.storage.list("index/",
                        [&](const storage::ObjectInfo& info) { index_names_.insert(info.name); });
  checked_ += index_names_.size() + index_.tombstones().size();
  for (const BackupNeeds& needs : backups_) {
    if (needs.record) blame_indexes(needs);
  }
  for (const auto& [object, problem] : index_problems_) {
    const bool concerns = object.starts_with("index/") || object.starts_with("tombstones/");
    if (concerns && !findings_.has(object)) findings_.add(object, "", problem);
  }
}

std::set<std::uint32_t> Verification::adopted_packs_of(const BackupNeeds& needs) const {
  std::set<std::uint32_t> packs;
  for (const PackTask& task : packs_) {
    if (index_.is_adopted(task.pack) &&
        std::any_of(task.slots.begin(), task.slots.end(),
                    [&](std::uint32_t slot) { return needs.needs(slot); })) {
      packs.insert(task.pack);
    }
  }
  return packs;
}

// The index objects that named what `needs` found by adoption: those that its own run put, if any
// of them is unusable; else those of a backup that shares such a pack; else any.
std::set<std::string> Verification::indexes_lost_to(const BackupNeeds& needs,
                                                    const std::set<std::uint32_t>& adopted) const {
  std::set<std::string> names = unusable_indexes(needs.record->indexes);
  if (!names.empty()) return names;
  for (const BackupNeeds& other : backups_) {
    if (!other.record) continue;
    const std::set<std::uint32_t> theirs = adopted_packs_of(other);
    if (std::any_of(theirs.begin(), theirs.end(),
                    [&](std::uint32_t pack) { return adopted.contains(pack); })) {
      names.merge(unusable_indexes(other.record->indexes));
    }
  }
  return names.empty() ? unusable_indexes_of_all_backups() : names;
}

// A finished backup needs no pack that no index object names. Where one does, an index object is
// lost.
void Verification::blame_indexes(const BackupNeeds& needs) {
  const std::set<std::uint32_t> adopted = adopted_packs_of(needs);
  if (adopted.empty() && needs.lost_chunks == 0) return;
  const std::set<std::string> objects = indexes_lost_to(needs, adopted);
  const std::string consequence =
      needs.lost_chunks == 0
          ? "the packs' own directories make up for it: the backup can be restored, and the next "
            "one will put an index object in its place"
          : fmt::format(
                "{} chunks that the backup needs are in no pack that is left, the first: {}",
                needs.lost_chunks, base::to_hex(needs.first_lost.bytes));
  for (const std::string& object : objects) {
    const auto problem = index_problems_.find(object);
    findings_.add(
        object, needs.backup,
        fmt::format("{}; {}", problem == index_problems_.end() ? kMissing : problem->second,
                    consequence));
  }
  if (objects.empty()) {
    for (const std::uint32_t pack : adopted) {
      findings_.add(pack_name(index_.pack(pack).id), needs.backup,
                    "no index object names it: it was found by its own directory");
    }
  }
  if (needs.lost_chunks == 0) return;
  const std::set<std::string> packs = packs_that_cannot_be_adopted();
  for (const std::string& pack : packs) {
    findings_.add(pack, needs.backup, index_problems_.at(pack));
  }
  if (objects.empty() && packs.empty()) {
    findings_.add(record_name(needs.backup), needs.backup, consequence);
  }
}

// Lost chunks may stand in one of these.
std::set<std::string> Verification::packs_that_cannot_be_adopted() const {
  std::set<std::string> names;
  for (const auto& [object, problem] : index_problems_) {
    if (object.starts_with("packs/")) names.insert(object);
  }
  for (std::uint32_t i = 0; i < index_.pack_count(); ++i) names.erase(pack_name(index_.pack(i).id));
  return names;
}

std::set<std::string> Verification::unusable_indexes(const std::vector<IndexId>& ids) const {
  std::set<std::string> names;
  for (const IndexId& id : ids) {
    if (index_.is_replaced(id)) continue;
    const std::string name = index_name(id);
    if (!index_names_.contains(name) || index_problems_.contains(name)) names.insert(name);
  }
  return names;
}

std::set<std::string> Verification::unusable_indexes_of_all_backups() const {
  std::set<std::string> names;
  for (const BackupSummary& summary : list_backups(context_).backups) {
    try {
      names.merge(unusable_indexes(get_record(context_, summary.id).indexes));
    } catch (const base::Error& error) {
      if (!is_damage(error) && error.kind() != base::ErrorKind::kNotFound) throw;
    }
  }
  return names;
}

}  // namespace

VerifyReport verify(const Context& context, const VerifyOptions& options,
                    const NeededLogs& needed_logs, base::Progress& progress, std::stop_token stop) {
  if (!options.quick && !context.keyring.can_read_data()) {
    throw base::Error(base::ErrorKind::kRefused,
                      "this credential is write-only: it cannot read what it would verify",
                      "Use the repository's full key, or verify with --quick.");
  }
  return Verification(context, options, needed_logs, progress, std::move(stop)).run();
}

}  // namespace holdfast::repository
