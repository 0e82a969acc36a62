#include "repository/prune.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <span>

#include "base/concurrency.h"
#include "base/error.h"
#include "repository/backup_needs.h"
#include "repository/fence.h"
#include "repository/index_compaction.h"
#include "repository/pack_format.h"
#include "repository/pack_rewriter.h"
#include "repository/prune_plan.h"
#include "repository/record.h"
#include "repository/retention_lock.h"
#include "storage/storage_class.h"

namespace holdfast::repository {
namespace {

constexpr std::size_t kBatch = 200;  // objects that are removed between two looks at the lock
constexpr std::string_view kNothingIsRemoved =
    "what it needs is not known, so no pack is removed until that is mended";

// What the repository holds and needs at one moment, and what follows for its packs.
struct Survey {
  Index index;
  JoinedNeeds needs;
  PackDecisions decisions;
  bool complete = true;  // all that is needed is known
  bool runs_at_work = false;
  PruneMoment moment;
};

// The records are listed behind the look at the locks, and the index loaded behind that: a run that
// is not seen at work has put its record, and the packs of all records are in the index.
Survey survey(const Context& context, const std::set<std::string>& without, PruneMoment moment,
              PruneReport& report, base::Progress& progress, const std::stop_token& stop) {
  progress.phase("reading what the backups need", 0);
  Survey found;
  found.runs_at_work = moment.oldest_run.has_value();
  const Catalog catalog = list_backups(context);
  std::vector<std::string> backups;
  for (const BackupSummary& backup : catalog.backups) {
    if (!without.contains(backup.id)) backups.push_back(backup.id);
  }
  found.index = Index::load(context);
  found.needs = collect_joined_needs(context, found.index, backups, stop);
  const auto decide = [&] {
    found.decisions =
        decide_on_packs(found.index, found.needs.slots, moment, context.keyring.can_read_data());
  };
  decide();
  moment.locked = locked_packs(context, found.index, found.decisions.remove, moment.now, stop);
  if (!moment.locked.empty()) decide();
  found.moment = std::move(moment);

  report.problems.clear();
  std::vector<Index::Problem> unknown = catalog.damaged;
  unknown.insert(unknown.end(), found.needs.problems.begin(), found.needs.problems.end());
  for (const Index::Problem& problem : unknown) {
    report.problems.push_back(
        fmt::format("{}: {}; {}", problem.object, problem.what, kNothingIsRemoved));
  }
  found.complete = unknown.empty();
  for (const std::string& backup : found.needs.with_losses) {
    report.problems.push_back(fmt::format(
        "{} needs chunks that stand in no pack: see `holdfast verify {}`", backup, backup));
  }
  report.live_bytes = found.decisions.live_bytes;
  report.dead_bytes = found.decisions.dead_bytes;
  return found;
}

PackTotals totals(const Index& index, const std::vector<std::uint32_t>& packs) {
  PackTotals sum;
  for (const std::uint32_t pack : packs) {
    ++sum.packs;
    sum.bytes += index.pack(pack).size_bytes;
  }
  return sum;
}

PackTotals operator+(const PackTotals& a, const PackTotals& b) {
  return {a.packs + b.packs, a.bytes + b.bytes};
}

std::set<std::string> as_set(const std::vector<std::string>& items) {
  return {items.begin(), items.end()};
}

// What is condemned goes after the grace time.
void add_early(const Index& index, const std::vector<std::uint32_t>& packs, base::Time gone,
               EarlyRemoval& early) {
  for (const std::uint32_t number : packs) {
    const PackEntry& pack = index.pack(number);
    const base::Time end = minimum_end(pack);
    if (end <= gone) continue;
    early.packs.add(pack.size_bytes);
    early.dollars += storage::storage_cost(*storage::find_storage_class(pack.storage_class),
                                           pack.size_bytes, end - gone);
    early.end = std::max(early.end.value_or(end), end);
  }
}

// Of what is about to go, or to be condemned. Once for each pack: it is condemned before.
void report_early(const Survey& found, PruneReport& report) {
  add_early(found.index, found.decisions.remove, found.moment.now, report.early);
  add_early(found.index, found.decisions.condemn, found.moment.now + found.moment.grace,
            report.early);
}

void report_what_waits(const Survey& found, PruneReport& report) {
  const PackDecisions& decisions = found.decisions;
  report.waiting = totals(found.index, decisions.waiting);
  report.locked = totals(found.index, decisions.locked);
  report.kept_to_minimum = totals(found.index, decisions.kept_to_minimum);
  report.next = decisions.next;
}

void note_what_is_cold(const PackDecisions& decisions, PruneReport& report) {
  if (decisions.cold_dead_bytes == 0) return;
  report.notes.push_back(fmt::format(
      "{} that nothing needs stay in packs that hold other data: their class of storage makes "
      "copying them impossible or a loss (docs/tiers.md)",
      base::format_size(decisions.cold_dead_bytes)));
}

void note_what_cannot_be_read(const PackDecisions& decisions, PruneReport& report) {
  if (!decisions.unreadable) return;
  report.notes.push_back(fmt::format(
      "{} that nothing needs stay in packs that hold other data: this key is write-only and "
      "cannot rewrite them; a prune with the full key will",
      base::format_size(decisions.dead_bytes)));
}

class PruneRun {
 public:
  PruneRun(const Context& context, const PruneRequest& request, const Lock& lock,
           base::Progress& progress, std::stop_token stop)
      : context_(context),
        request_(request),
        lock_(lock),
        progress_(progress),
        stop_(std::move(stop)) {}

  PruneReport run() {
    remove_records_and_logs();
    sweep(true);
    // Without a grace time what was condemned goes at once, in the same two steps.
    const bool again = request_.grace <= base::Duration(0) && report_.condemned.packs > 0;
    if (again) sweep(false);
    remove_passed_fences(context_);
    return std::move(report_);
  }

 private:
  void remove_records_and_logs() {
    progress_.phase("removing backups", 0);
    for (const std::string& backup : request_.backups) {
      before_removing();
      if (context_.storage.remove(record_name(backup))) ++report_.backups_removed;
    }
    for (std::size_t done = 0; done < request_.logs.size();) {
      before_removing();
      const auto batch = batch_of<std::string>(request_.logs, done);
      context_.storage.remove_all(batch);
      done += batch.size();
      report_.logs_removed += batch.size();
    }
  }

  // A prune that was halted while another took over does nothing that the other decided otherwise.
  void before_removing() const {
    base::throw_if_stopped(stop_);
    lock_.require();
  }

  template <typename Item>
  static std::span<const Item> batch_of(std::span<const Item> items, std::size_t from) {
    return items.subspan(from, std::min(kBatch, items.size() - from));
  }

  void sweep(bool first) {
    const Survey found = survey(context_, {}, look_at_locks(), report_, progress_, stop_);
    if (!found.complete) return;
    const PackDecisions& decisions = found.decisions;
    report_.removed = report_.removed + totals(found.index, decisions.remove);
    report_what_waits(found, report_);
    if (first) report_early(found, report_);
    remove_packs(found.index, decisions.remove);
    if (first) {
      condemn(found.index, decisions.condemn);
      rewrite(found);
      note_what_cannot_be_read(decisions, report_);
      note_what_is_cold(decisions, report_);
    }
    before_removing();
    compact(found);
    for (const TombstoneId& tombstone : decisions.settled) {
      before_removing();
      context_.storage.remove(tombstone_name(tombstone));
    }
    remove_damaged_tombstones();
  }

  PruneMoment look_at_locks() {
    PruneMoment moment{.now = lock_.since(),
                       .grace = request_.grace,
                       .oldest_run = std::nullopt,
                       .wait_for_minimum = request_.wait_for_minimum};
    for (const HeldLock& other : lock_.others()) {
      moment.oldest_run = std::min(moment.oldest_run.value_or(other.since), other.since);
    }
    return moment;
  }

  void remove_packs(const Index& index, const std::vector<std::uint32_t>& packs) {
    progress_.phase("removing packs", 0);
    for (std::size_t done = 0; done < packs.size();) {
      before_removing();
      std::vector<std::string> names;
      for (const std::uint32_t pack : batch_of<std::uint32_t>(packs, done)) {
        names.push_back(pack_name(index.pack(pack).id));
        gone_.insert(index.pack(pack).id);
      }
      context_.storage.remove_all(names);
      done += names.size();
    }
  }

  void condemn(const Index& index, const std::vector<std::uint32_t>& packs) {
    if (packs.empty()) return;
    std::vector<PackId> ids;
    for (const std::uint32_t pack : packs) ids.push_back(index.pack(pack).id);
    before_removing();
    put_tombstone(context_, ids);
    report_.condemned = report_.condemned + totals(index, packs);
  }

  // A pack that cannot be copied whole stays as it is. A full disk ends the copying, not the prune:
  // what is condemned will make room.
  void rewrite(const Survey& found) {
    const std::vector<std::uint32_t>& packs = found.decisions.rewrite;
    if (packs.empty()) return;
    std::uint64_t total = 0;
    for (const std::uint32_t pack : packs) total += found.decisions.live[pack];
    progress_.phase("rewriting packs", total);
    const std::map<std::uint32_t, std::vector<std::uint32_t>> chunks = needed_chunks(found);
    PackRewriter rewriter(context_, found.index);
    std::vector<std::uint32_t> copied;
    try {
      for (const std::uint32_t pack : packs) {
        base::throw_if_stopped(stop_);
        if (!copy(rewriter, found.index, pack, chunks.at(pack))) continue;
        copied.push_back(pack);
        progress_.advance(found.decisions.live[pack]);
      }
      rewriter.finish();
    } catch (const base::Error& error) {
      if (error.kind() != base::ErrorKind::kNoSpace) throw;
      report_.problems.push_back(fmt::format(
          "there was no room to rewrite packs: {}; prune again when more is free", error.what()));
      return;
    }
    condemn(found.index, copied);
    report_.rewritten = totals(found.index, copied);
    report_.bytes_copied = rewriter.bytes_put();
  }

  bool copy(PackRewriter& rewriter, const Index& index, std::uint32_t pack,
            const std::vector<std::uint32_t>& chunks) {
    try {
      rewriter.copy(pack, chunks);
      return true;
    } catch (const base::Error& error) {
      if (!is_damage(error) && error.kind() != base::ErrorKind::kRefused) throw;
      report_.problems.push_back(
          fmt::format("{} cannot be rewritten: {}", pack_name(index.pack(pack).id), error.what()));
      return false;
    }
  }

  // For each pack that is rewritten: the numbers of its chunks that are needed, ascending.
  static std::map<std::uint32_t, std::vector<std::uint32_t>> needed_chunks(const Survey& found) {
    std::map<std::uint32_t, std::vector<std::uint32_t>> chunks;
    for (const std::uint32_t pack : found.decisions.rewrite) chunks[pack];
    for (std::size_t slot = 0; slot < found.needs.slots.size(); ++slot) {
      if (!found.needs.slots[slot]) continue;
      const ChunkLocation& location = found.index.slots()[slot].location;
      const auto place = chunks.find(location.pack);
      if (place != chunks.end()) place->second.push_back(location.number);
    }
    for (auto& [pack, numbers] : chunks) std::sort(numbers.begin(), numbers.end());
    return chunks;
  }

  void compact(const Survey& found) {
    std::set<PackId> needed;
    std::set<PackId> gone = gone_;
    for (std::uint32_t i = 0; i < found.index.pack_count(); ++i) {
      const PackEntry& pack = found.index.pack(i);
      if (found.decisions.live[i] > 0) needed.insert(pack.id);
      if (pack.missing) gone.insert(pack.id);
    }
    // A pack that is missing and needed stays named, so that verify can name it.
    IndexCompaction what{
        .is_gone = [&](const PackId& id) { return gone.contains(id) && !needed.contains(id); },
        .is_named =
            [&](const IndexId& id) {
              return found.runs_at_work || found.needs.indexes.contains(id);
            }};
    for (const Index::PackContents& contents : found.index.adopted()) {
      if (needed.contains(contents.pack.id)) what.unnamed.push_back(contents);
    }
    compact_index(context_, found.index, what, stop_);
  }

  // They protect nobody, and the packs that they named are condemned anew.
  void remove_damaged_tombstones() {
    for (const auto& [object, problem] : list_tombstones(context_).damaged) {
      before_removing();
      context_.storage.remove(object);
      report_.notes.push_back(fmt::format("{} was removed: {}", object, problem));
    }
  }

  const Context& context_;
  const PruneRequest& request_;
  const Lock& lock_;
  base::Progress& progress_;
  const std::stop_token stop_;
  std::set<PackId> gone_;
  PruneReport report_;
};

}  // namespace

std::unique_ptr<Lock> take_prune_lock(const Context& context) {
  // No component can have this name.
  return Lock::take(context, {.kind = "prune",
                              .scope = "the repository",
                              .exclusive_in_scope = true,
                              .command = "holdfast prune"});
}

PruneReport plan_prune(const Context& context, const PruneRequest& request,
                       base::Progress& progress, std::stop_token stop) {
  PruneReport report;
  const PruneMoment moment{.now = context.clock.now(),
                           .grace = request.grace,
                           .oldest_run = std::nullopt,
                           .wait_for_minimum = request.wait_for_minimum};
  const Survey found = survey(context, as_set(request.backups), moment, report, progress, stop);
  report.backups_removed = request.backups.size();
  report.logs_removed = request.logs.size();
  if (!found.complete) return report;
  const PackDecisions& decisions = found.decisions;
  report.removed = totals(found.index, decisions.remove);
  report.rewritten = totals(found.index, decisions.rewrite);
  report.condemned = totals(found.index, decisions.condemn) + report.rewritten;
  for (const std::uint32_t pack : decisions.rewrite) report.bytes_copied += decisions.live[pack];
  report_what_waits(found, report);
  report_early(found, report);
  note_what_cannot_be_read(decisions, report);
  note_what_is_cold(decisions, report);
  if (request.grace <= base::Duration(0)) {
    report.removed = report.removed + report.condemned;
  }
  return report;
}

PruneReport prune(const Context& context, const PruneRequest& request, const Lock& lock,
                  base::Progress& progress, std::stop_token stop) {
  return PruneRun(context, request, lock, progress, std::move(stop)).run();
}

}  // namespace holdfast::repository
