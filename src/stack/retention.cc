#include "stack/retention.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>

namespace holdfast::stack {
namespace {

// How long a backup is kept, and by what.
struct Rule {
  std::optional<base::Duration> keep;  // none: for ever
  std::string job;                     // empty: there is none that could say
  std::string why_this{};              // where it is not the backup's own, with a "; " behind it
};

bool keeps_longer(const JobConfig& a, const JobConfig& b) {
  return b.keep && (!a.keep || *a.keep > *b.keep);
}

Rule find_rule(const repository::BackupSummary& backup, const std::vector<JobConfig>& jobs) {
  const JobConfig* longest = nullptr;
  for (const JobConfig& job : jobs) {
    if (!backup.job.empty() && job.name == backup.job) return {job.keep, job.name};
    const bool covers =
        std::find(job.backup.begin(), job.backup.end(), backup.component) != job.backup.end();
    if (covers && (longest == nullptr || keeps_longer(job, *longest))) longest = &job;
  }
  std::string why = backup.job.empty()
                        ? "of no job; "
                        : fmt::format("its job {} does not write here; ", backup.job);
  if (longest == nullptr) return {std::nullopt, {}, std::move(why)};
  return {longest->keep, longest->name, std::move(why)};
}

std::string term_of(base::Duration keep) {
  const auto days = std::chrono::floor<std::chrono::days>(keep);
  return days == keep ? fmt::format("{} days", days.count()) : base::format_duration(keep);
}

// What protects a component's backups, whatever their age.
struct Protected {
  const BackupInQuestion* newest = nullptr;
  const BackupInQuestion* newest_good = nullptr;
  bool newest_system_is_good = false;  // of the system of the newest there is a good one
};

bool is_newer(const BackupInQuestion& a, const BackupInQuestion& b) {
  return std::tie(a.summary.started, a.summary.id) > std::tie(b.summary.started, b.summary.id);
}

std::map<std::string, Protected> find_protected(const std::vector<BackupInQuestion>& backups) {
  std::map<std::string, Protected> components;
  for (const BackupInQuestion& backup : backups) {
    Protected& component = components[backup.summary.component];
    if (!component.newest || is_newer(backup, *component.newest)) component.newest = &backup;
    if (backup.good && (!component.newest_good || is_newer(backup, *component.newest_good))) {
      component.newest_good = &backup;
    }
  }
  for (const BackupInQuestion& backup : backups) {
    Protected& component = components[backup.summary.component];
    if (backup.good && backup.system == component.newest->system) {
      component.newest_system_is_good = true;
    }
  }
  return components;
}

std::string protection_of(const BackupInQuestion& backup, const Protected& component,
                          base::Time now) {
  if (backup.ended() > now) return "it ends in the future: is a clock wrong?";
  if (&backup == component.newest) return "the newest of its component";
  if (&backup == component.newest_good) return "the newest good one of its component";
  if (backup.system != component.newest->system && !component.newest_system_is_good) {
    return "of the system before, and the new one has no good backup yet";
  }
  return {};
}

BackupFate decide(const BackupInQuestion& backup, const Protected& component,
                  const std::vector<JobConfig>& jobs, base::Time now) {
  const Rule rule = find_rule(backup.summary, jobs);
  if (!rule.keep) {
    const std::string who = rule.job.empty() ? "no job covers its component" : "job " + rule.job;
    return {true, fmt::format("{}{}: kept for ever", rule.why_this, who), {}};
  }
  BackupFate fate;
  fate.until = backup.ended() + *rule.keep;
  const std::string term = term_of(*rule.keep);
  if (now < *fate.until) {
    fate.why = fmt::format("{}job {} keeps {}", rule.why_this, rule.job, term);
    return fate;
  }
  fate.why = protection_of(backup, component, now);
  if (!fate.why.empty()) return fate;
  fate.keep = false;
  fate.why = fmt::format("{}older than the {} of job {}", rule.why_this, term, rule.job);
  return fate;
}

}  // namespace

base::Time BackupInQuestion::ended() const {
  constexpr std::chrono::hours kMostWrong{48};
  return stored > summary.finished && stored - summary.finished <= kMostWrong ? stored
                                                                              : summary.finished;
}

std::vector<BackupFate> decide_on_backups(const std::vector<BackupInQuestion>& backups,
                                          const std::vector<JobConfig>& jobs, base::Time now) {
  const std::map<std::string, Protected> components = find_protected(backups);
  std::vector<BackupFate> fates;
  fates.reserve(backups.size());
  for (const BackupInQuestion& backup : backups) {
    fates.push_back(decide(backup, components.at(backup.summary.component), jobs, now));
  }
  return fates;
}

}  // namespace holdfast::stack
