#include "repository/prune_plan.h"

#include <algorithm>

#include "storage/storage_class.h"

namespace holdfast::repository {
namespace {

// What may stay of bytes that nothing needs, as a share of those that are needed.
constexpr std::uint64_t kDeadSharePercent = 10;

class Decider {
 public:
  Decider(const Index& index, const PruneMoment& moment) : index_(index), moment_(moment) {
    for (std::uint32_t pack = 0; pack < index.pack_count(); ++pack) {
      numbers_.emplace(index.pack(pack).id, pack);
    }
    decisions_.live.resize(index.pack_count());
  }

  PackDecisions run(const std::vector<bool>& needed, bool can_read_data) {
    for (std::size_t slot = 0; slot < needed.size(); ++slot) {
      if (!needed[slot]) continue;
      const ChunkLocation& location = index_.slots()[slot].location;
      decisions_.live[first_number(location.pack)] += location.stored_length;
    }
    for (const Tombstone& tombstone : index_.tombstones()) decide_on(tombstone);
    for (const auto& [id, pack] : numbers_) decide_on(pack);
    choose_what_to_rewrite(can_read_data);
    return std::move(decisions_);
  }

 private:
  std::uint32_t first_number(std::uint32_t pack) const { return numbers_.at(index_.pack(pack).id); }

  // The moment is that of the prune's beginning: without a grace time what it has put itself
  // counts.
  bool is_within_grace(base::Time put) const {
    return moment_.grace > base::Duration(0) && moment_.now - put < moment_.grace;
  }

  // Whoever loaded the index before the tombstone was there is still at work, or it is too young.
  bool must_wait(const Tombstone& tombstone) const {
    return is_within_grace(tombstone.put) ||
           (moment_.oldest_run && *moment_.oldest_run <= tombstone.put);
  }

  void decide_on(const Tombstone& tombstone) {
    const bool wait = must_wait(tombstone);
    bool settled = !wait;
    for (const PackId& id : tombstone.packs) {
      const auto number = numbers_.find(id);
      if (number == numbers_.end()) continue;  // removed by a prune that came no further
      const std::uint32_t pack = number->second;
      // Needed again: a run that had begun before built on it.
      if (index_.pack(pack).missing || decisions_.live[pack] > 0) continue;
      const base::Time held = held_until(index_.pack(pack));
      if (!wait && held <= moment_.now) {
        decisions_.remove.push_back(pack);
        continue;
      }
      settled = false;
      decisions_.waiting.push_back(pack);
      if (!wait && moment_.locked.contains(id)) decisions_.locked.push_back(pack);
      const base::Time at = std::max({moment_.now, tombstone.put + moment_.grace, held});
      decisions_.next = std::min(decisions_.next.value_or(at), at);
    }
    if (settled) decisions_.settled.push_back(tombstone.id);
  }

  // By its lock, or by the time that it is paid for.
  base::Time held_until(const PackEntry& pack) const {
    const auto lock = moment_.locked.find(pack.id);
    const base::Time locked = lock == moment_.locked.end() ? base::Time() : lock->second;
    return moment_.wait_for_minimum ? std::max(locked, minimum_end(pack)) : locked;
  }

  // A run at work may have put it, or it is a killed run's, whose next one will use it.
  bool is_young(const PackEntry& pack) const {
    return is_of_a_run(pack) || is_within_grace(pack.modified);
  }

  bool is_of_a_run(const PackEntry& pack) const {
    return moment_.oldest_run && pack.modified >= *moment_.oldest_run;
  }

  void decide_on(std::uint32_t number) {
    const PackEntry& pack = index_.pack(number);
    const std::uint64_t live = decisions_.live[number];
    if (live > 0) {
      decisions_.live_bytes += live;
      if (pack.present) decisions_.dead_bytes += pack.chunk_bytes - live;
    } else if (!pack.missing && !pack.condemned && !is_young(pack)) {
      // Until then backups may still use it.
      const bool keep = moment_.wait_for_minimum && minimum_end(pack) > moment_.now + moment_.grace;
      (keep ? decisions_.kept_to_minimum : decisions_.condemn).push_back(number);
    }
  }

  // A frozen one cannot be read; one that is paid for any longer saves nothing by being copied.
  bool is_worth_rewriting(const PackEntry& pack) const {
    return !storage::may_be_frozen(pack.storage_class) && minimum_end(pack) <= moment_.now;
  }

  // The packs of which most is dead, until little enough is left.
  void choose_what_to_rewrite(bool can_read_data) {
    std::vector<std::uint32_t> candidates;
    for (const auto& [id, number] : numbers_) {
      const PackEntry& pack = index_.pack(number);
      const std::uint64_t live = decisions_.live[number];
      if (live == 0 || live == pack.chunk_bytes || !pack.present || is_of_a_run(pack)) continue;
      if (is_worth_rewriting(pack)) {
        candidates.push_back(number);
      } else {
        decisions_.cold_dead_bytes += pack.chunk_bytes - live;
      }
    }
    const auto dead_share = [&](std::uint32_t number) {
      const auto all = static_cast<double>(index_.pack(number).chunk_bytes);
      return 1 - static_cast<double>(decisions_.live[number]) / all;
    };
    std::sort(candidates.begin(), candidates.end(),
              [&](std::uint32_t a, std::uint32_t b) { return dead_share(a) > dead_share(b); });
    const std::uint64_t bound = decisions_.live_bytes / 100 * kDeadSharePercent;
    for (const std::uint32_t number : candidates) {
      if (decisions_.dead_bytes <= bound) break;
      const PackEntry& pack = index_.pack(number);
      if (pack.pack_class == PackClass::kData && !can_read_data) {
        decisions_.unreadable = true;
        continue;
      }
      decisions_.rewrite.push_back(number);
      decisions_.dead_bytes -= pack.chunk_bytes - decisions_.live[number];
    }
  }

  const Index& index_;
  const PruneMoment& moment_;
  std::map<PackId, std::uint32_t> numbers_;
  PackDecisions decisions_;
};

}  // namespace

base::Time minimum_end(const PackEntry& pack) {
  const storage::StorageClass* found = storage::find_storage_class(pack.storage_class);
  if (found == nullptr || found->minimum.count() == 0) return {};
  return pack.modified + found->minimum;
}

PackDecisions decide_on_packs(const Index& index, const std::vector<bool>& needed,
                              const PruneMoment& moment, bool can_read_data) {
  return Decider(index, moment).run(needed, can_read_data);
}

}  // namespace holdfast::repository
