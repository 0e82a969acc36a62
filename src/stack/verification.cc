#include "stack/verification.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>

#include "base/concurrency.h"
#include "base/error.h"
#include "repository/log_object.h"
#include "stack/component.h"
#include "stack/repositories.h"

namespace holdfast::stack {
namespace {

using base::Error;
using base::ErrorKind;
using repository::BackupSummary;
using repository::Catalog;

std::vector<std::string> chosen_backups(const repository::Context& context, const Catalog& catalog,
                                        const VerificationOptions& options) {
  std::vector<std::string> ids;
  if (options.all) {
    for (const BackupSummary& backup : catalog.backups) ids.push_back(backup.id);
    return ids;
  }
  for (const std::string& name : options.backups) {
    ids.push_back(repository::resolve_backup(context, name));
  }
  if (options.backups.empty()) {
    std::map<std::string, std::string> latest;  // the catalog is sorted: the last one wins
    for (const BackupSummary& backup : catalog.backups) latest[backup.component] = backup.id;
    for (const auto& [component, id] : latest) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

std::vector<std::string> logs_of(const BackupSummary& backup) {
  const auto component = find_component(backup);
  return component ? component->needed_logs(backup) : std::vector<std::string>{};
}

// Reads every log object whole; those that cannot be read become damage.
class LogCheck {
 public:
  LogCheck(const repository::Context& context, bool quick, base::Progress& progress)
      : context_(context), quick_(quick), progress_(progress) {}

  void run(int workers, const std::stop_token& stop, repository::VerifyReport& report) {
    std::uint64_t bytes = 0;
    context_.storage.list("wal/", [&](const storage::ObjectInfo& object) {
      bytes += object.size_bytes;
      objects_.push_back(object);
    });
    progress_.phase("checking the WAL", quick_ ? 0 : bytes);
    base::WorkerGroup group(stop);
    for (int i = 0; i < workers; ++i) {
      group.start([this](std::stop_token token) { work(token); });
    }
    group.join();
    report.checked += objects_.size();
    auto damaged = damaged_.lock();
    report.damaged.insert(report.damaged.end(), damaged->begin(), damaged->end());
  }

 private:
  void work(const std::stop_token& stop) {
    while (true) {
      const std::size_t number = next_.fetch_add(1);
      if (number >= objects_.size()) return;
      base::throw_if_stopped(stop);
      check(objects_[number]);
      progress_.advance(quick_ ? 0 : objects_[number].size_bytes);
    }
  }

  void check(const storage::ObjectInfo& object) {
    try {
      const bool there =
          quick_ ? repository::stat_log(context_, object.name).has_value()
                 : repository::read_log(
                       context_, object.name, [](base::ByteView) {}, repository::LogCheck::kDigest)
                       .has_value();
      if (there) return;
      damaged_.lock()->push_back({object.name, "", "it has disappeared while it was checked"});
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kDamaged) throw;
      damaged_.lock()->push_back({object.name, "", error.what()});
    }
  }

  const repository::Context& context_;
  const bool quick_;
  base::Progress& progress_;
  std::vector<storage::ObjectInfo> objects_;
  std::atomic<std::size_t> next_{0};
  base::Guarded<std::vector<repository::Damage>> damaged_;
};

void require_reading(const repository::Repository& repository) {
  try {
    repository.require_reading("a verification of the content");
  } catch (Error& error) {
    error.set_hint("this key can do `holdfast verify --quick`, which reads no content");
    throw;
  }
}

bool names(const repository::VerifyReport& report, const std::string& object) {
  return std::any_of(report.damaged.begin(), report.damaged.end(),
                     [&](const repository::Damage& damage) { return damage.object == object; });
}

// What was found stands, whether or not this credential may keep it.
void keep_report(const repository::Context& context, const repository::VerifyOptions& options,
                 const repository::VerifyReport& report, base::Progress& progress) {
  try {
    repository::put_verify_report(context, options, report);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kRefused && error.kind() != ErrorKind::kPermission) throw;
    progress.note(fmt::format("the report is not kept: {}", error.what()));
  }
}

}  // namespace

std::vector<repository::Damage> damage_at_opening(const RepositoryConfig& config,
                                                  const Error& error, const base::Clock& clock,
                                                  crypto::Random& random) {
  std::vector<std::string> slots;
  const auto storage = open_storage(config, clock, random);
  const auto readable = repository::list_key_slots(*storage, &slots);
  std::vector<repository::Damage> damaged;
  for (const std::string& slot : slots) damaged.push_back({slot, "", "this key slot is damaged"});
  const bool format = !readable.empty();  // a slot that can be read leaves no other suspect
  if (format || damaged.empty()) damaged.push_back({"format", "", error.what()});
  return damaged;
}

Verification verify_backups(const repository::Repository& repository,
                            const VerificationOptions& options, base::Progress& progress,
                            std::stop_token stop) {
  if (!options.quick) require_reading(repository);
  const repository::Context& context = repository.context();
  const Catalog catalog = repository::list_backups(context);
  Verification result;
  result.backups = chosen_backups(context, catalog, options);
  const repository::VerifyOptions what{
      .backups = result.backups, .quick = options.quick, .workers = options.workers};
  result.report = repository::verify(context, what, logs_of, progress, stop);
  // A record that cannot be read may be the latest of its component: it always counts.
  for (const auto& problem : catalog.damaged) {
    if (names(result.report, problem.object)) continue;
    result.report.damaged.push_back({problem.object, "", problem.what});
  }
  if (options.all) {
    repository::VerifyReport logs;
    LogCheck(context, options.quick, progress).run(options.workers, stop, logs);
    result.report.checked += logs.checked;
    for (const auto& damage : logs.damaged) {
      if (!names(result.report, damage.object)) result.report.damaged.push_back(damage);
    }
  }
  if (!options.quick) keep_report(context, what, result.report, progress);
  return result;
}

}  // namespace holdfast::stack
