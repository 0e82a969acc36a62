#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "files/difference.h"
#include "repository/record.h"

namespace holdfast::cli {
namespace {

using base::Error;
using base::ErrorKind;
using files::Difference;
using repository::BackupRecord;

struct Comparison {
  std::string from;
  std::string to;  // "now", or a backup's id
  bool secret = false;
  files::NowComparison found;
};

BackupRecord record_of(Session& session, const std::string& text, const std::string& component) {
  const repository::Context& context = session.repository().context();
  return repository::get_record(context, repository::resolve_backup(context, text, component));
}

Comparison compare(Session& session) {
  const auto& words = session.arguments().positional;
  session.prefer_repository_of(words.front());
  const repository::Context& context = session.repository().context();
  const BackupRecord before = record_of(session, words.front(), {});
  Comparison result;
  result.from = before.summary.id;
  result.secret = before.summary.type == "secrets";
  if (words.size() == 2) {
    const BackupRecord after = record_of(session, words.back(), before.summary.component);
    if (after.summary.type != before.summary.type) {
      throw Error(ErrorKind::kUsage, "the two backups are of different types");
    }
    result.to = after.summary.id;
    result.found.differences = files::compare_backups(context, before, after);
    return result;
  }
  if (before.summary.type != "files" && before.summary.type != "secrets") {
    throw Error(ErrorKind::kUsage,
                fmt::format("a backup of type {} cannot be compared with now", before.summary.type),
                "name a second backup");
  }
  const stack::ComponentConfig& component = session.config().component(before.summary.component);
  result.to = "now";
  const auto progress = session.progress();
  result.found = files::compare_with_now(
      context, before,
      {.root = component.root, .include = component.include, .exclude = component.exclude},
      *progress, session.stop());
  return result;
}

char letter_of(Difference::Kind kind) {
  switch (kind) {
    case Difference::Kind::kAdded:
      return '+';
    case Difference::Kind::kRemoved:
      return '-';
    case Difference::Kind::kChanged:
      break;
  }
  return 'M';
}

struct Counts {
  std::size_t added = 0;
  std::size_t removed = 0;
  std::size_t changed = 0;
};

Counts count(const std::vector<Difference>& differences) {
  Counts counts;
  for (const Difference& difference : differences) {
    switch (difference.kind) {
      case Difference::Kind::kAdded:
        ++counts.added;
        break;
      case Difference::Kind::kRemoved:
        ++counts.removed;
        break;
      case Difference::Kind::kChanged:
        ++counts.changed;
        break;
    }
  }
  return counts;
}

void print_json(Session& session, const Comparison& comparison, const Counts& counts) {
  nlohmann::json document = {
      {"from", comparison.from},
      {"to", comparison.to},
      {"counts",
       {{"added", counts.added}, {"removed", counts.removed}, {"changed", counts.changed}}},
      {"unreadable", comparison.found.unreadable.size()}};
  if (!comparison.secret) {
    nlohmann::json added = nlohmann::json::array();
    nlohmann::json removed = nlohmann::json::array();
    nlohmann::json changed = nlohmann::json::array();
    for (const Difference& difference : comparison.found.differences) {
      if (difference.kind == Difference::Kind::kAdded) added.push_back(difference.path);
      if (difference.kind == Difference::Kind::kRemoved) removed.push_back(difference.path);
      if (difference.kind != Difference::Kind::kChanged) continue;
      changed.push_back({{"path", difference.path}, {"what", difference.what}});
    }
    document["added"] = std::move(added);
    document["removed"] = std::move(removed);
    document["changed"] = std::move(changed);
  }
  session.print_json(document);
}

}  // namespace

int run_diff(Session& session) {
  const Comparison comparison = compare(session);
  const Counts counts = count(comparison.found.differences);
  if (!comparison.secret) {
    for (const Difference& difference : comparison.found.differences) {
      const std::string what =
          difference.what.empty() ? "" : fmt::format("  ({})", fmt::join(difference.what, ", "));
      session.print(fmt::format("{} {}{}", letter_of(difference.kind),
                                base::printable(difference.path), what));
    }
    for (const std::string& problem : comparison.found.unreadable)
      session.warn(base::printable(problem));
  } else if (!comparison.found.unreadable.empty()) {
    session.warn(fmt::format("{} files cannot be read", comparison.found.unreadable.size()));
  }
  session.print(fmt::format("from {} to {}: {} added, {} removed, {} changed", comparison.from,
                            comparison.to, counts.added, counts.removed, counts.changed));
  if (session.json()) print_json(session, comparison, counts);
  return comparison.found.unreadable.empty() ? kDone : kAttention;
}

}  // namespace holdfast::cli
