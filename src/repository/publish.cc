#include "repository/publish.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
#include "repository/backup_needs.h"

namespace holdfast::repository {
namespace {

// Whether every prune that removes a pack sees this run: it holds its lock, and each tombstone that
// it did not know when it began was put after that.
bool is_waited_for(const Context& context, const Index& index, const Lock& lock) {
  TombstoneList list;
  bool is_held = false;
  base::share_out(2, std::min(2, context.storage.requests_at_once()), {}, [&] {
    return [&](std::size_t n) {
      if (n == 0) {
        is_held = lock.is_held();
      } else {
        list = list_tombstones(context);
      }
    };
  });
  if (!is_held) return false;
  for (const Tombstone& tombstone : list.tombstones) {
    const bool known =
        std::any_of(index.tombstones().begin(), index.tombstones().end(),
                    [&](const Tombstone& other) { return other.id == tombstone.id; });
    if (!known && tombstone.put < lock.since()) return false;
  }
  return true;
}

void require_all_that_it_needs(const Context& context, const BackupRecord& record) {
  const Index index = Index::load(context);
  const BackupNeeds needs = collect_needs(context, index, record);
  bool whole = needs.problems.empty() && needs.lost_chunks == 0;
  for (std::size_t slot = 0; slot < needs.slots.size(); ++slot) {
    if (!needs.needs(slot)) continue;
    const PackEntry& pack = index.pack(index.slots()[slot].location.pack);
    whole = whole && pack.present && !pack.condemned;
  }
  if (whole) return;
  throw base::Error(base::ErrorKind::kFailed,
                    "the run's lock was lost, and a prune has removed, or is about to, what this "
                    "backup builds on",
                    "run the backup again: what was stored is found and not stored twice");
}

}  // namespace

// Looked at again behind the put: a prune that marks from then on sees the record.
storage::PutResult publish_record(const Context& context, const BackupRecord& record,
                                  const Index& index, const Lock& lock) {
  lock.require_newest();
  if (!is_waited_for(context, index, lock)) require_all_that_it_needs(context, record);
  const storage::PutResult result = put_record(context, record);
  if (result != storage::PutResult::kCreated || is_waited_for(context, index, lock)) return result;
  try {
    require_all_that_it_needs(context, record);
  } catch (base::Error& error) {
    try {
      context.storage.remove(record_name(record.summary.id));
    } catch (const base::Error& why) {
      error.add_context(fmt::format("{} is not whole and could not be removed ({})",
                                    record_name(record.summary.id), why.what()));
    }
    throw;
  }
  return result;
}

}  // namespace holdfast::repository
