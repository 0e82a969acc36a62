#include "repository/cold_packs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "base/concurrency.h"
#include "base/parallel.h"
#include "repository/backup_needs.h"
#include "storage/storage_class.h"

namespace holdfast::repository {
namespace {

using storage::ThawSpeed;
using Thaw = storage::ObjectState::Thaw;

constexpr std::chrono::seconds kFirstPause{2};
constexpr std::chrono::minutes kLongestPause{5};

struct ColdPack {
  std::uint32_t number = 0;  // in the index's table of packs
  Thaw thaw = Thaw::kNotNeeded;
  std::optional<base::Time> thawed_until{};

  bool is_readable() const { return thaw == Thaw::kNotNeeded || thaw == Thaw::kThawed; }
};

class ColdPacks {
 public:
  ColdPacks(const Context& context, const Index& index, const std::vector<std::uint32_t>& packs,
            std::stop_token stop)
      : context_(context), index_(index), stop_(std::move(stop)) {
    if (context.storage.object_store() == nullptr) return;
    for (const std::uint32_t pack : packs) {
      if (index.pack(pack).present && storage::may_be_frozen(index.pack(pack).storage_class)) {
        packs_.push_back({.number = pack});
      }
    }
  }

  bool empty() const { return packs_.empty(); }

  // Looks again at those that could not be read.
  void look() {
    for_each_waiting([this](ColdPack& pack) {
      const auto state = store().state(name_of(pack));
      // What is gone, or was moved to another class: the reader will tell.
      pack.thaw = state ? state->thaw : Thaw::kNotNeeded;
      pack.thawed_until = state ? state->thawed_until : std::nullopt;
    });
    if (!stores_freeze_) stores_freeze_ = find_out_whether_it_freezes();
    for (ColdPack& pack : packs_) {
      if (!*stores_freeze_ && pack.thaw == Thaw::kNeeded) pack.thaw = Thaw::kNotNeeded;
    }
    looked_ = true;
  }

  void thaw(ThawSpeed speed, int days) {
    for_each_waiting([&](ColdPack& pack) {
      if (pack.thaw == Thaw::kNeeded) store().thaw(name_of(pack), speed, days);
    });
  }

  std::size_t readable() const {
    return static_cast<std::size_t>(std::count_if(
        packs_.begin(), packs_.end(), [](const ColdPack& pack) { return pack.is_readable(); }));
  }
  bool all_readable() const { return readable() == packs_.size(); }

  std::vector<std::uint32_t> not_readable() const {
    std::vector<std::uint32_t> numbers;
    for (const ColdPack& pack : packs_) {
      if (!pack.is_readable()) numbers.push_back(pack.number);
    }
    return numbers;
  }

  ThawReport report(int days) const {
    ThawReport report;
    report.days = days;
    std::map<std::string, PackTotals> frozen;  // by class
    for (const ColdPack& pack : packs_) {
      const PackEntry& entry = index_.pack(pack.number);
      if (pack.thaw == Thaw::kNeeded) {
        report.frozen.add(entry.size_bytes);
        frozen[entry.storage_class].add(entry.size_bytes);
      } else if (pack.thaw == Thaw::kUnderWay) {
        report.under_way.add(entry.size_bytes);
      } else if (pack.thaw == Thaw::kThawed) {
        report.thawed.add(entry.size_bytes);
        if (pack.thawed_until) {
          report.thawed_until =
              std::min(report.thawed_until.value_or(*pack.thawed_until), *pack.thawed_until);
        }
      }
      if (!pack.is_readable()) report.waiting_for.push_back(name_of(pack));
    }
    for (const auto& [name, totals] : frozen) report.storage_classes.push_back(name);
    add_estimates(frozen, report);
    return report;
  }

 private:
  storage::ObjectStore& store() const { return *context_.storage.object_store(); }
  std::string name_of(const ColdPack& pack) const { return pack_name(index_.pack(pack.number).id); }

  template <typename Work>
  void for_each_waiting(Work work) {
    std::vector<ColdPack*> waiting;
    for (ColdPack& pack : packs_) {
      if (!looked_ || !pack.is_readable()) waiting.push_back(&pack);
    }
    base::share_out(waiting.size(), context_.storage.requests_at_once(), stop_,
                    [&] { return [&](std::size_t n) { work(*waiting[n]); }; });
  }

  // There are stores to which these classes are names of pools like any other.
  bool find_out_whether_it_freezes() const {
    for (const ColdPack& pack : packs_) {
      if (pack.thaw != Thaw::kNeeded) continue;
      std::array<std::uint8_t, 1> last{};
      try {
        context_.storage.read(name_of(pack), index_.pack(pack.number).size_bytes - 1, last);
        return false;
      } catch (const base::Error& error) {
        if (error.kind() != base::ErrorKind::kRefused) throw;
        return true;
      }
    }
    return true;
  }

  // A speed that one of the classes does not have is left out.
  static void add_estimates(const std::map<std::string, PackTotals>& frozen, ThawReport& report) {
    if (frozen.empty()) return;
    for (const ThawSpeed speed : {ThawSpeed::kBulk, ThawSpeed::kStandard, ThawSpeed::kExpedited}) {
      ThawEstimate sum{.speed = speed};
      bool all_have_it = true;
      for (const auto& [name, totals] : frozen) {
        const auto& terms = storage::find_storage_class(name)->thaw;
        const auto found =
            std::find_if(terms.begin(), terms.end(),
                         [&](const storage::ThawTerms& one) { return one.speed == speed; });
        if (found == terms.end()) {
          all_have_it = false;
          continue;
        }
        sum.least = std::max<base::Duration>(sum.least, found->least);
        sum.most = std::max<base::Duration>(sum.most, found->most);
        sum.dollars += storage::thaw_cost(*found, totals.packs, totals.bytes, report.days);
      }
      if (all_have_it) report.estimates.push_back(sum);
    }
  }

  const Context& context_;
  const Index& index_;
  const std::stop_token stop_;
  std::vector<ColdPack> packs_;
  bool looked_ = false;
  std::optional<bool> stores_freeze_;
};

// Only where there is something to find: it reads the whole file table.
std::vector<std::uint32_t> packs_of(const Context& context, const Index& index,
                                    const BackupRecord& record) {
  bool any = false;
  for (std::uint32_t i = 0; i < index.pack_count() && !any; ++i) {
    any = storage::may_be_frozen(index.pack(i).storage_class);
  }
  if (!any) return {};
  const BackupNeeds needs = collect_needs(context, index, record);
  std::set<std::uint32_t> packs;
  for (std::size_t slot = 0; slot < needs.slots.size(); ++slot) {
    if (needs.needs(slot)) packs.insert(index.slots()[slot].location.pack);
  }
  return {packs.begin(), packs.end()};
}

void require_speed(const ThawReport& report, ThawSpeed speed) {
  const bool known =
      report.frozen.packs == 0 ||
      std::any_of(report.estimates.begin(), report.estimates.end(),
                  [&](const ThawEstimate& estimate) { return estimate.speed == speed; });
  if (known) return;
  throw base::Error(base::ErrorKind::kUsage,
                    fmt::format("there is no {} thaw of {}", storage::name_of(speed),
                                fmt::join(report.storage_classes, ", ")),
                    "say --thaw standard or --thaw bulk");
}

void wait_for(ColdPacks& packs, base::Progress& progress, const std::stop_token& stop) {
  progress.phase("waiting until the packs are thawed", 0);
  std::chrono::milliseconds pause = kFirstPause;
  while (!packs.all_readable()) {
    base::wait_until(std::chrono::steady_clock::now() + pause, stop);
    pause = std::min<std::chrono::milliseconds>(pause * 3 / 2, kLongestPause);
    try {
      packs.look();
    } catch (const base::Error& error) {
      // Hours of waiting are not lost because the store is away for some minutes.
      if (!base::info(error.kind()).retry_may_help) throw;
    }
  }
}

std::string message_of(const ThawReport& report) {
  if (report.requested) {
    return fmt::format("{} packs ({}) that the restore needs are being thawed",
                       report.frozen.packs + report.under_way.packs,
                       base::format_size(report.frozen.bytes + report.under_way.bytes));
  }
  std::string text;
  if (report.frozen.packs > 0) {
    text = fmt::format("{} packs ({}) that the restore needs are frozen ({})", report.frozen.packs,
                       base::format_size(report.frozen.bytes),
                       fmt::join(report.storage_classes, ", "));
  }
  if (report.under_way.packs > 0) {
    text += fmt::format("{}{} packs ({}){} are being thawed", text.empty() ? "" : ", and ",
                        report.under_way.packs, base::format_size(report.under_way.bytes),
                        text.empty() ? " that the restore needs" : "");
  }
  return text;
}

std::string hint_of(const ThawReport& report) {
  if (report.requested || report.frozen.packs == 0) {
    return "run the same restore again when they are thawed, or with --wait";
  }
  return "--thaw asks the store to thaw them, which takes hours and costs money; docs/tiers.md";
}

}  // namespace

FrozenError::FrozenError(ThawReport report)
    : base::Error(base::ErrorKind::kRefused, message_of(report), hint_of(report)),
      report_(std::move(report)) {}

void require_thawed(const Context& context, const Index& index, const BackupRecord& record,
                    const ThawRequest& request, base::Progress& progress, std::stop_token stop) {
  ColdPacks packs(context, index, packs_of(context, index, record), stop);
  if (packs.empty()) return;
  progress.phase("asking which packs are frozen", 0);
  packs.look();
  if (packs.all_readable()) return;
  ThawReport report = packs.report(request.days);
  if (request.speed && report.frozen.packs > 0) {
    require_speed(report, *request.speed);
    packs.thaw(*request.speed, request.days);
    report.requested = request.speed;
    packs.look();  // some stores thaw at once
    if (packs.all_readable()) return;
  }
  const bool all_asked_for = report.requested || report.frozen.packs == 0;
  if (!request.wait || !all_asked_for) {
    if (request.speed) report.requested = request.speed;
    throw FrozenError(std::move(report));
  }
  wait_for(packs, progress, stop);
}

std::vector<std::uint32_t> packs_not_readable(const Context& context, const Index& index,
                                              const std::vector<std::uint32_t>& packs,
                                              std::stop_token stop) {
  ColdPacks cold(context, index, packs, std::move(stop));
  if (cold.empty()) return {};
  cold.look();
  return cold.not_readable();
}

}  // namespace holdfast::repository
