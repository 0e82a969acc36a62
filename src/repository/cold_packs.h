// Packs in classes of storage that must be thawed before they are read: which of them a backup
// needs, how long and about what cost it takes to thaw them, and the request for it.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "repository/index.h"
#include "repository/pack_totals.h"
#include "repository/record.h"
#include "storage/object_store.h"

namespace holdfast::repository {

struct ThawRequest {
  std::optional<storage::ThawSpeed> speed{};  // none: nothing is asked for
  int days = 7;                               // that thawed copies are kept
  bool wait = false;                          // until all can be read
};

// What thawing all that is frozen would mean at one speed.
struct ThawEstimate {
  storage::ThawSpeed speed = storage::ThawSpeed::kStandard;
  base::Duration least{};
  base::Duration most{};
  double dollars = 0;  // by storage/storage_class.h
};

struct ThawReport {
  PackTotals frozen;     // that nobody has asked for
  PackTotals under_way;  // being thawed
  PackTotals thawed;
  std::vector<std::string> waiting_for;      // names of those that cannot be read
  std::vector<std::string> storage_classes;  // of the frozen ones
  std::vector<ThawEstimate> estimates;       // for the frozen ones, the cheapest first
  std::optional<base::Time> thawed_until;    // when the first copy goes
  // What was asked for in this run; `frozen` and the estimates are then those of before.
  std::optional<storage::ThawSpeed> requested{};
  int days = 0;
};

// kRefused: packs must be thawed before they can be read.
class FrozenError : public base::Error {
 public:
  explicit FrozenError(ThawReport report);
  const ThawReport& report() const { return report_; }

 private:
  ThawReport report_;
};

// Returns when every pack that the backup needs can be read; asks the store for their state only
// where the index knows of any that may be frozen. FrozenError where they must be thawed first: the
// request was sent if `request` names a speed. kUsage for a speed that a class does not have.
void require_thawed(const Context& context, const Index& index, const BackupRecord& record,
                    const ThawRequest& request, base::Progress& progress, std::stop_token stop);

// Of these numbers in the index's table of packs, in their order: those that cannot be read now, by
// asking the store for each that may be frozen.
std::vector<std::uint32_t> packs_not_readable(const Context& context, const Index& index,
                                              const std::vector<std::uint32_t>& packs,
                                              std::stop_token stop);

}  // namespace holdfast::repository
