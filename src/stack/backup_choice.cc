#include "stack/backup_choice.h"

#include <fmt/format.h>

#include "base/error.h"

namespace holdfast::stack {
namespace {

using base::Error;
using base::ErrorKind;
using repository::BackupSummary;

const BackupSummary& newest_by(const std::vector<BackupSummary>& backups, base::Time at,
                               const std::string& component) {
  const BackupSummary* chosen = nullptr;
  for (const BackupSummary& backup : backups) {
    if (backup.finished > at) continue;
    if (chosen == nullptr || backup.finished >= chosen->finished) chosen = &backup;
  }
  // A moment is given to the second as a rule, and the newest backup ended within one.
  const bool is_after = at > std::chrono::ceil<std::chrono::seconds>(backups.back().finished);
  if (chosen != nullptr && !is_after) return *chosen;
  throw Error(ErrorKind::kNotFound,
              fmt::format("{} cannot be brought back to {}: its backups are of {} to {}", component,
                          base::format_time(at), base::format_time(backups.front().finished),
                          base::format_time(backups.back().finished)),
              is_after ? "without --at it comes back as of its last backup"
                       : "see `holdfast list --points`");
}

// A record that cannot be read may be of the very backup that is meant: that is not passed over.
void refuse_to_pass_over(const repository::Catalog& catalog, const std::string& component,
                         const BackupSummary& chosen, const std::optional<base::Time>& at) {
  const std::string after = chosen.id.empty() ? "" : repository::record_name(chosen.id);
  const std::string last =
      at ? repository::record_name(repository::make_backup_id(component, *at)) : std::string();
  for (const auto& problem : catalog.damaged) {
    if (problem.object <= after || (at && problem.object > last)) continue;
    throw Error(ErrorKind::kDamaged, fmt::format("{}: {}", problem.object, problem.what),
                chosen.id.empty()
                    ? ""
                    : fmt::format("`--backup {}` restores the newest one before it", chosen.id));
  }
}

}  // namespace

repository::BackupRecord choose_backup(const repository::Context& context,
                                       const std::string& component,
                                       const RestoreOptions& options) {
  if (options.backup && options.at) {
    throw Error(ErrorKind::kUsage, "--backup and --at cannot be combined here");
  }
  if (options.backup) return repository::get_record(context, *options.backup);
  const repository::Catalog catalog = repository::list_backups(context, component);
  if (catalog.backups.empty()) {
    refuse_to_pass_over(catalog, component, {}, {});
    throw Error(ErrorKind::kNotFound, fmt::format("there is no backup of {}", component),
                "see `holdfast list`");
  }
  const BackupSummary& chosen =
      options.at ? newest_by(catalog.backups, *options.at, component) : catalog.backups.back();
  refuse_to_pass_over(catalog, component, chosen, options.at);
  return repository::get_record(context, chosen.id);
}

void refuse_options_of_databases(const RestoreOptions& options, std::string_view type) {
  const auto refuse = [&](bool given, std::string_view option) {
    if (!given) return;
    throw Error(ErrorKind::kUsage,
                fmt::format("{} is not for components of type {}", option, type));
  };
  refuse(options.lsn.has_value(), "--lsn");
  refuse(options.xid.has_value(), "--xid");
  refuse(options.name.has_value(), "--name");
  refuse(!options.timeline.empty(), "--timeline");
  refuse(!options.action.empty(), "--action");
  refuse(!options.tablespaces.empty(), "--tablespace");
  refuse(options.start, "--start");
}

}  // namespace holdfast::stack
