#include "repository/retention_lock.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <set>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/parallel.h"
#include "repository/backup_needs.h"
#include "storage/object_store.h"

namespace holdfast::repository {
namespace {

std::optional<base::Duration> lock_period(const Context& context) {
  storage::ObjectStore* store = context.storage.object_store();
  return store == nullptr ? std::nullopt : store->lock_period();
}

// An object that a backup needs.
struct Needed {
  std::string name;
  base::Time modified{};  // long ago: not known
};

class Covering {
 public:
  Covering(const Context& context, base::Duration period, base::Time now, std::stop_token stop)
      : context_(context), period_(period), now_(now), stop_(std::move(stop)) {}

  Coverage run(const std::vector<std::string>& backups, const std::vector<std::string>& logs) {
    result_.until = now_ + period_;
    collect(backups, logs);
    result_.objects = needed_.size();
    base::share_out(needed_.size(), context_.storage.requests_at_once(), stop_,
                    [this] { return [this](std::size_t n) { cover(needed_[n].name); }; });
    const Failures failures = std::move(*failures_.lock());
    if (failures.count > 0) {
      result_.problems.push_back(
          fmt::format("not everything that backups need is locked until {}: {}{}",
                      base::format_time(result_.until), failures.first,
                      failures.count > 1 ? fmt::format(" (and {} more)", failures.count - 1) : ""));
    }
    result_.extended = extended_;
    return std::move(result_);
  }

 private:
  struct Failures {
    std::uint64_t count = 0;
    std::string first;
  };

  void collect(const std::vector<std::string>& backups, const std::vector<std::string>& logs) {
    const Index index = Index::load(context_);
    const JoinedNeeds needs = collect_joined_needs(context_, index, backups, stop_);
    for (const Index::Problem& problem : needs.problems) {
      result_.problems.push_back(fmt::format("{}: {}; what it needs beside that is not locked",
                                             problem.object, problem.what));
    }
    std::set<std::uint32_t> packs;
    for (std::size_t slot = 0; slot < needs.slots.size(); ++slot) {
      if (needs.slots[slot]) packs.insert(index.slots()[slot].location.pack);
    }
    for (const std::uint32_t pack : packs) {
      const PackEntry& entry = index.pack(pack);
      if (!entry.missing) needed_.push_back({pack_name(entry.id), entry.modified});
    }
    std::set<std::string> records;
    for (const std::string& backup : backups) records.insert(record_name(backup));
    list("backups/", [&](const std::string& name) { return records.contains(name); });
    for (const char* prefix : {"index/", "keys/"}) {
      list(prefix, [](const std::string&) { return true; });
    }
    needed_.push_back({"format"});
    for (const std::string& log : logs) needed_.push_back({log});
  }

  template <typename Wanted>
  void list(const char* prefix, Wanted wanted) {
    context_.storage.list(prefix, [&](const storage::ObjectInfo& info) {
      if (wanted(info.name)) needed_.push_back({info.name, info.modified});
    });
  }

  bool is_covered(const std::string& name) const {
    const auto state = context_.storage.object_store()->state(name);
    return state && state->locked_until && *state->locked_until >= result_.until;
  }

  // Where the right to is lacking there is no use in going on.
  void cover(const std::string& name) {
    if (refused_) return;
    try {
      if (is_covered(name)) return;
      context_.storage.object_store()->lock_until(name, now_ + period_ + period_ / 4);
      ++extended_;
    } catch (const base::Error& error) {
      if (error.kind() == base::ErrorKind::kInterrupted) throw;
      if (error.kind() == base::ErrorKind::kPermission) refused_ = true;
      auto failures = failures_.lock();
      if (failures->count++ == 0) failures->first = error.what();
    }
  }

  const Context& context_;
  const base::Duration period_;
  const base::Time now_;
  const std::stop_token stop_;
  std::vector<Needed> needed_;
  std::atomic<std::uint64_t> extended_ = 0;
  std::atomic<bool> refused_ = false;
  base::Guarded<Failures> failures_;
  Coverage result_;
};

}  // namespace

std::map<std::string, base::Time> locked_objects(const Context& context,
                                                 const std::vector<std::string>& names,
                                                 base::Time now, std::stop_token stop) {
  if (!lock_period(context)) return {};
  base::Guarded<std::map<std::string, base::Time>> locked;
  base::share_out(names.size(), context.storage.requests_at_once(), std::move(stop), [&] {
    return [&](std::size_t n) {
      const auto state = context.storage.object_store()->state(names[n]);
      if (!state || !state->locked_until || *state->locked_until <= now) return;
      locked.lock()->emplace(names[n], *state->locked_until);
    };
  });
  return std::move(*locked.lock());
}

std::map<PackId, base::Time> locked_packs(const Context& context, const Index& index,
                                          const std::vector<std::uint32_t>& packs, base::Time now,
                                          std::stop_token stop) {
  std::vector<std::string> names;
  for (const std::uint32_t pack : packs) names.push_back(pack_name(index.pack(pack).id));
  std::map<PackId, base::Time> locked;
  for (const auto& [name, until] : locked_objects(context, names, now, std::move(stop))) {
    locked.emplace(*parse_name<PackId>(name, pack_name), until);
  }
  return locked;
}

std::optional<Coverage> cover_backups(const Context& context,
                                      const std::vector<std::string>& backups,
                                      const std::vector<std::string>& logs, base::Time now,
                                      std::stop_token stop) {
  const std::optional<base::Duration> period = lock_period(context);
  if (!period) return std::nullopt;
  return Covering(context, *period, now, std::move(stop)).run(backups, logs);
}

}  // namespace holdfast::repository
