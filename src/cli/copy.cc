#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/error_json.h"
#include "cli/session.h"
#include "stack/copying.h"
#include "stack/repositories.h"

namespace holdfast::cli {
namespace {

using base::Error;
using base::ErrorKind;
using repository::CopiedBackup;
using stack::RepositoryConfig;

const RepositoryConfig& target_of(Session& session) {
  const auto name = session.arguments().value("--to");
  if (!name) {
    throw Error(ErrorKind::kUsage, "copy needs --to REPOSITORY",
                "name a repository of the configuration");
  }
  const RepositoryConfig& from = session.repository_config();
  const RepositoryConfig& to = session.config().repository(*name);
  if (to.place() == from.place()) {
    throw Error(ErrorKind::kUsage, fmt::format("{} is the repository that is copied from", to.name),
                "name the one to copy from with -r");
  }
  return to;
}

void print_copied(Session& session, const CopiedBackup& backup, const std::string& to,
                  bool dry_run) {
  if (backup.already_there) {
    session.print(fmt::format("{}  is in {} already", backup.id, to));
    return;
  }
  session.print(fmt::format("{}  {} {}: {} in {} objects", backup.id,
                            dry_run ? "to be sent to" : "copied to", to,
                            base::format_size(backup.bytes_sent), backup.objects_sent));
}

nlohmann::json document_of(const std::vector<CopiedBackup>& backups, const std::string& from,
                           const std::string& to, bool dry_run) {
  nlohmann::json copied = nlohmann::json::array();
  nlohmann::json failed = nlohmann::json::array();
  for (const CopiedBackup& backup : backups) {
    if (backup.error) {
      failed.push_back({{"backup", backup.id}, {"error", error_json(*backup.error)}});
      continue;
    }
    copied.push_back({{"id", backup.id},
                      {"repository", to},
                      {"already_there", backup.already_there},
                      {"objects_sent", backup.objects_sent},
                      {"bytes_sent", backup.bytes_sent},
                      {"warnings", backup.warnings}});
  }
  nlohmann::json document = {
      {"from", from}, {"to", to}, {"dry_run", dry_run}, {"copied", copied}, {"failed", failed}};
  if (!failed.empty()) document["error"] = failed.front()["error"];
  return document;
}

// What has repositories of its own is in one of those, and goes to no other.
void settle_own_repositories(Session& session) {
  for (const std::string& name : session.arguments().positional) {
    session.prefer_repository_of(name);
    const stack::ComponentConfig* component = session.component_named(name);
    if (component == nullptr || component->repositories.empty()) continue;
    const auto& own = component->repositories;
    const std::string to = session.arguments().value("--to").value_or("");
    if (std::find(own.begin(), own.end(), to) != own.end()) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("{} does not belong in the repository {}: it names {}", component->name,
                            to, fmt::join(own, ", ")),
                fmt::format("change `repository` at {}", component->where));
  }
}

}  // namespace

int run_copy(Session& session) {
  settle_own_repositories(session);
  const RepositoryConfig& to = target_of(session);
  const stack::CopyingOptions options{.backups = session.arguments().positional,
                                      .dry_run = session.arguments().has("--dry-run"),
                                      .workers = session.workers()};
  session.repository();
  const auto target = stack::open_repository(to, session.clock(), session.random());
  const std::vector<CopiedBackup> backups = [&] {
    const auto progress = session.progress();
    return stack::copy_backups(session.repository(), *target, options, *progress, session.stop());
  }();
  int status = kDone;
  bool warned = false;
  for (const CopiedBackup& backup : backups) {
    for (const std::string& warning : backup.warnings) session.warn(warning);
    warned = warned || !backup.warnings.empty();
    if (!backup.error) {
      print_copied(session, backup, to.name, options.dry_run);
      continue;
    }
    session.error(*backup.error);
    status = status == kDone ? base::info(backup.error->kind()).exit_status : int{kFailed};
  }
  if (session.json()) {
    session.print_json(
        document_of(backups, session.repository_config().name, to.name, options.dry_run));
  }
  return status == kDone && warned ? kAttention : status;
}

}  // namespace holdfast::cli
