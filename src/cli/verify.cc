#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "stack/verification.h"

namespace holdfast::cli {
namespace {

void print_result(Session& session, const stack::Verification& result) {
  const auto& report = result.report;
  for (const repository::Damage& damage : report.damaged) {
    session.print(
        fmt::format("DAMAGED  {}: {}{}", damage.object, damage.problem,
                    damage.backup.empty() ? "" : fmt::format(" (needed by {})", damage.backup)));
  }
  for (const repository::Damage& frozen : report.frozen) {
    if (!session.verbose()) break;
    session.print(fmt::format("NOT READ {}: {} (needed by {})", frozen.object, frozen.problem,
                              frozen.backup));
  }
  if (!report.frozen.empty()) {
    session.warn(
        fmt::format("{} packs are in cold storage and were not read (--verbose names them): "
                    "`restore --thaw` thaws what a backup needs",
                    report.frozen.size()));
  }
  session.print(fmt::format(
      "checked {} objects of {} backups in {}: {}", report.checked, result.backups.size(),
      base::format_duration(report.finished - report.started),
      report.damaged.empty() ? "no damage" : fmt::format("{} problems", report.damaged.size())));
}

nlohmann::json document_of(const stack::Verification& result) {
  const auto list = [](const std::vector<repository::Damage>& items) {
    nlohmann::json array = nlohmann::json::array();
    for (const repository::Damage& item : items) {
      array.push_back(
          {{"object", item.object},
           {"backup", item.backup.empty() ? nlohmann::json(nullptr) : nlohmann::json(item.backup)},
           {"problem", item.problem}});
    }
    return array;
  };
  return {{"checked", result.report.checked},
          {"damaged", list(result.report.damaged)},
          {"frozen", list(result.report.frozen)},
          {"restored", nlohmann::json::array()},
          {"backups", result.backups}};
}

// A repository whose damage keeps it from being opened is a result too: that is what was asked.
stack::Verification verify(Session& session, const stack::VerificationOptions& options) {
  try {
    session.repository();
  } catch (const base::Error& error) {
    if (error.kind() != base::ErrorKind::kDamaged) throw;
    stack::Verification result;
    result.report.damaged = stack::damage_at_opening(session.repository_config(), error,
                                                     session.clock(), session.random());
    result.report.checked = result.report.damaged.size();
    return result;
  }
  const auto progress = session.progress();
  return stack::verify_backups(session.repository(), options, *progress, session.stop());
}

// Components that go elsewhere alone are not in what is verified here.
void note_what_is_elsewhere(Session& session) {
  const std::string& here = session.repository_config().name;
  for (const stack::ComponentConfig& component : session.config().components) {
    const std::vector<std::string>& own = component.repositories;
    if (own.empty() || std::find(own.begin(), own.end(), here) != own.end()) continue;
    session.note(fmt::format("{} is backed up to {} alone: verify it with -r {}", component.name,
                             fmt::join(own, ", "), own.front()));
  }
}

}  // namespace

int run_verify(Session& session) {
  const Arguments& arguments = session.arguments();
  if (!arguments.positional.empty()) session.prefer_repository_of(arguments.positional.front());
  const stack::VerificationOptions options{.backups = arguments.positional,
                                           .all = arguments.has("--all"),
                                           .quick = arguments.has("--quick"),
                                           .workers = session.workers()};
  if (options.all && !options.backups.empty()) {
    throw base::Error(base::ErrorKind::kUsage, "--all and single backups cannot be combined");
  }
  const stack::Verification result = verify(session, options);
  if (options.backups.empty()) note_what_is_elsewhere(session);
  print_result(session, result);
  if (session.json()) session.print_json(document_of(result));
  if (!result.report.damaged.empty()) return kDamaged;
  return result.report.frozen.empty() ? kDone : kAttention;
}

}  // namespace holdfast::cli
