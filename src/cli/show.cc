#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/backup_view.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "repository/verify.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;

void print_field(Session& session, std::string_view name, const std::string& value) {
  session.print(fmt::format("{:<20}{}", name, value));
}

std::string scalar_text(const json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// What the component's kind says, whatever it is: one line a field, one a list's item.
void print_details(Session& session, const json& details) {
  for (const auto& [key, value] : details.items()) {
    if (value.is_null()) continue;
    if (!value.is_array()) {
      print_field(session, "  " + key, scalar_text(value));
      continue;
    }
    for (const json& item : value) {
      if (!item.is_object()) {
        print_field(session, "  " + key, scalar_text(item));
        continue;
      }
      std::string line;
      for (const auto& [name, part] : item.items()) {
        line += fmt::format("{}{} {}", line.empty() ? "" : ", ", name, scalar_text(part));
      }
      print_field(session, "  " + key, line);
    }
  }
}

void print_backup(Session& session, const repository::BackupSummary& backup, const json& document) {
  const auto size = [](std::uint64_t bytes) {
    return fmt::format("{} ({} bytes)", base::format_size(bytes), bytes);
  };
  print_field(session, "backup", backup.id);
  print_field(session, "component", fmt::format("{} ({})", backup.component, backup.type));
  print_field(session, "kind", backup.kind);
  if (!backup.job.empty()) print_field(session, "job", backup.job);
  if (!backup.previous.empty()) print_field(session, "previous", backup.previous);
  print_field(session, "repository", document["repository"].get<std::string>());
  print_field(session, "started", base::format_time(backup.started));
  print_field(session, "finished",
              fmt::format("{} ({})", base::format_time(backup.finished),
                          base::format_duration(backup.finished - backup.started)));
  print_field(session, "size", size(backup.bytes));
  print_field(session, "read", size(backup.bytes_read));
  print_field(session, "stored", size(backup.bytes_stored));
  print_field(session, "files", fmt::format("{}", backup.files));
  print_field(session, "verified",
              document["verified"].is_null() ? "never" : document["verified"].get<std::string>());
  if (!backup.details_key.empty() && document.contains(backup.details_key)) {
    session.print(backup.details_key);
    print_details(session, document[backup.details_key]);
  }
  for (const std::string& warning : backup.warnings) print_field(session, "warning", warning);
}

}  // namespace

int run_show(Session& session) {
  session.prefer_repository_of(session.arguments().positional.front());
  const repository::Context& context = session.repository().context();
  const std::string id =
      repository::resolve_backup(context, session.arguments().positional.front());
  const repository::BackupRecord record = repository::get_record(context, id);
  json document = backup_json(record.summary, session.repository_config().name,
                              repository::verified_times(context));
  document["previous"] =
      record.summary.previous.empty() ? json(nullptr) : json(record.summary.previous);
  document["file_table_chunks"] = record.file_table.size();
  document["index_objects"] = record.indexes.size();
  if (session.json()) {
    session.print_json(document);
  } else {
    print_backup(session, record.summary, document);
  }
  return kDone;
}

}  // namespace holdfast::cli
