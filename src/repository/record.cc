#include "repository/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "repository/fields.h"
#include "repository/sealed_object.h"

namespace holdfast::repository {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;

constexpr std::string_view kPrefix = "backups/";
constexpr std::size_t kTimeSize = 16;  // YYYYMMDDThhmmssZ
constexpr std::size_t kMaxIdSize = 255;

// Where the details stand in the record's header; not part of the BACKUP object of list.
constexpr const char* kDetailsKey = "details";

bool is_component(std::string_view name) {
  const auto ordinary = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && ordinary(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return ordinary(c) || c == '_' || c == '.' || c == '-'; });
}

std::string_view time_of(std::string_view id) { return id.substr(id.size() - kTimeSize); }

// A moment as in an id, which exists in the calendar.
bool is_compact_time(std::string_view text) {
  if (text.size() != kTimeSize || text[8] != 'T' || text[15] != 'Z') return false;
  const auto number = [&](std::size_t from, std::size_t digits) {
    int value = 0;
    for (const char c : text.substr(from, digits)) {
      if (c < '0' || c > '9') return -1;
      value = value * 10 + (c - '0');
    }
    return value;
  };
  const int year = number(0, 4);
  const int month = number(4, 2);
  const int day = number(6, 2);
  const int hour = number(9, 2);
  const int minute = number(11, 2);
  const int second = number(13, 2);
  if (std::min({year, month, day, hour, minute, second}) < 0) return false;
  const std::chrono::year_month_day date(std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day)));
  return date.ok() && hour < 24 && minute < 60 && second < 60;
}

json optional_text(const std::string& text) { return text.empty() ? json(nullptr) : json(text); }

std::string text_or_empty(const json& value) {
  return value.is_null() ? std::string() : value.get<std::string>();
}

// get() alone would take -1 for a very large number.
std::uint64_t number(const json& value) {
  if (!value.is_number_unsigned()) {
    throw Error(ErrorKind::kDamaged, "a record has an impossible number");
  }
  return value.get<std::uint64_t>();
}

base::Time moment(const json& value) {
  const auto time = base::parse_time(value.get<std::string>(), base::Time());
  if (!time) throw Error(ErrorKind::kDamaged, "a record has an impossible time");
  return *time;
}

BackupSummary summary_from(const json& header) {
  BackupSummary summary;
  summary.id = header.at("id").get<std::string>();
  summary.component = header.at("component").get<std::string>();
  summary.type = header.at("type").get<std::string>();
  summary.kind = header.at("kind").get<std::string>();
  summary.job = text_or_empty(header.at("job"));
  summary.previous = text_or_empty(header.at("previous"));
  summary.started = moment(header.at("started"));
  summary.finished = moment(header.at("finished"));
  summary.bytes = number(header.at("bytes"));
  summary.bytes_read = number(header.at("bytes_read"));
  summary.bytes_stored = number(header.at("bytes_stored"));
  summary.files = number(header.at("files"));
  summary.warnings = header.at("warnings").get<std::vector<std::string>>();
  summary.details_key = text_or_empty(header.at(kDetailsKey));
  if (!summary.details_key.empty()) {
    const json& details = header.at(summary.details_key);
    if (!details.is_object()) throw Error(ErrorKind::kDamaged, "a record's details are no object");
    summary.details_json = details.dump();
  }
  if (!is_backup_id(summary.id) || component_of(summary.id) != summary.component) {
    throw Error(ErrorKind::kDamaged, "a record has an impossible id");
  }
  return summary;
}

struct NamedBackup {
  std::string id;
  bool operator<(const NamedBackup& other) const {
    return std::pair(time_of(id), std::string_view(id)) <
           std::pair(time_of(other.id), std::string_view(other.id));
  }
};

// The ids of the objects below backups/, oldest first; others go to `strangers`.
std::vector<std::string> record_ids(const Context& context, std::string_view component,
                                    std::vector<std::string>* strangers) {
  std::string prefix(kPrefix);
  if (!component.empty()) prefix.append(component).append("/");
  std::vector<NamedBackup> found;
  context.storage.list(prefix, [&](const storage::ObjectInfo& object) {
    const std::string id = object.name.substr(object.name.rfind('/') + 1);
    if (is_backup_id(id) && record_name(id) == object.name) {
      found.push_back({id});
    } else if (strangers) {
      strangers->push_back(object.name);
    }
  });
  std::sort(found.begin(), found.end());
  std::vector<std::string> ids;
  for (NamedBackup& backup : found) ids.push_back(std::move(backup.id));
  return ids;
}

[[noreturn]] void not_found(std::string_view id) {
  throw Error(ErrorKind::kNotFound, fmt::format("there is no backup {}", id),
              "See which there are: holdfast list.");
}

// Nullopt: not there.
BackupRecord decode_record_of(const std::string& name, base::ByteView body) {
  BackupRecord record = base::with_context(name, [&] { return decode_record(body); });
  if (record_name(record.summary.id) != name) {
    throw Error(ErrorKind::kDamaged, fmt::format("{} holds the record of another backup", name));
  }
  return record;
}

std::optional<BackupRecord> read_record(const Context& context, const std::string& id) {
  const std::string name = record_name(id);
  const auto body = get_metadata(context, name, MetadataKind::kRecord);
  if (!body) return std::nullopt;
  return decode_record_of(name, *body);
}

}  // namespace

std::string_view component_of(std::string_view backup_id) {
  return backup_id.substr(0, backup_id.size() - kTimeSize - 1);
}

std::string make_backup_id(std::string_view component, base::Time started) {
  std::string id = fmt::format("{}-{}", component, base::format_compact_time(started));
  if (!is_backup_id(id)) {
    throw Error(ErrorKind::kUsage, fmt::format("'{}' cannot be the name of a component", component),
                "Use a-z, 0-9, '_', '.' and '-', and begin with a letter or a digit.");
  }
  return id;
}

bool is_backup_id(std::string_view id) {
  return id.size() > kTimeSize + 1 && id.size() <= kMaxIdSize &&
         id[id.size() - kTimeSize - 1] == '-' && is_compact_time(time_of(id)) &&
         is_component(component_of(id));
}

std::string record_name(std::string_view backup_id) {
  if (!is_backup_id(backup_id)) not_found(backup_id);
  return fmt::format("{}{}/{}", kPrefix, component_of(backup_id), backup_id);
}

json to_json(const BackupSummary& summary) {
  const std::chrono::duration<double> duration = summary.finished - summary.started;
  json out = {{"id", summary.id},
              {"component", summary.component},
              {"type", summary.type},
              {"kind", summary.kind},
              {"job", optional_text(summary.job)},
              {"started", base::format_time(summary.started)},
              {"finished", base::format_time(summary.finished)},
              {"duration_seconds", duration.count()},
              {"bytes", summary.bytes},
              {"bytes_read", summary.bytes_read},
              {"bytes_stored", summary.bytes_stored},
              {"files", summary.files}};
  if (!summary.details_key.empty()) {
    out[summary.details_key] = json::parse(summary.details_json);
  }
  return out;
}

base::Bytes encode_record(const BackupRecord& record) {
  json header = to_json(record.summary);
  header["previous"] = optional_text(record.summary.previous);
  header["warnings"] = record.summary.warnings;
  header[kDetailsKey] = optional_text(record.summary.details_key);
  base::ByteWriter writer;
  // Warnings may name files whose names are not UTF-8.
  writer.string(header.dump(-1, ' ', false, json::error_handler_t::replace));
  writer.varint(record.file_table.size());
  for (const ChunkId& id : record.file_table) writer.raw(id.bytes);
  writer.varint(record.indexes.size());
  for (const IndexId& id : record.indexes) writer.raw(id.bytes);
  return writer.take();
}

BackupRecord decode_record(base::ByteView body) {
  base::ByteReader reader(body, "a record");
  BackupRecord record;
  try {
    record.summary = summary_from(json::parse(base::as_text(reader.bytes())));
  } catch (const json::exception&) {
    throw Error(ErrorKind::kDamaged, "a record's header cannot be understood");
  }
  record.file_table.resize(reader.count(sizeof(ChunkId::bytes)));
  for (ChunkId& id : record.file_table) id.bytes = read_array<32>(reader);
  record.indexes.resize(reader.count(sizeof(IndexId::bytes)));
  for (IndexId& id : record.indexes) id.bytes = read_array<16>(reader);
  reader.expect_end();
  return record;
}

storage::PutResult put_record(const Context& context, const BackupRecord& record) {
  return put_metadata(context, record_name(record.summary.id), MetadataKind::kRecord,
                      encode_record(record));
}

BackupRecord get_record(const Context& context, std::string_view backup_id) {
  auto record = read_record(context, std::string(backup_id));
  if (!record) not_found(backup_id);
  return std::move(*record);
}

Catalog list_backups(const Context& context, std::string_view component) {
  Catalog catalog;
  std::vector<std::string> strangers;
  std::vector<std::string> names;
  for (const std::string& id : record_ids(context, component, &strangers)) {
    names.push_back(record_name(id));
  }
  get_all_metadata(context, names, MetadataKind::kRecord, [&](FetchedMetadata& fetched) {
    if (!fetched.body && !fetched.damage) return;  // removed since it was listed
    try {
      if (fetched.damage) throw *fetched.damage;
      catalog.backups.push_back(decode_record_of(fetched.name, *fetched.body).summary);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kDamaged) throw;
      catalog.damaged.push_back({fetched.name, error.what()});
    }
  });
  for (std::string& name : strangers) {
    catalog.damaged.push_back({std::move(name), "is not named as a backup's record is"});
  }
  std::sort(catalog.backups.begin(), catalog.backups.end(),
            [](const BackupSummary& a, const BackupSummary& b) {
              return std::tie(a.started, a.id) < std::tie(b.started, b.id);
            });
  return catalog;
}

std::optional<BackupRecord> newest_backup(const Context& context, std::string_view component) {
  const std::vector<std::string> ids = record_ids(context, component, nullptr);
  for (auto id = ids.rbegin(); id != ids.rend(); ++id) {
    try {
      if (auto record = read_record(context, *id)) return record;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kDamaged) throw;
    }
  }
  return std::nullopt;
}

std::string resolve_backup(const Context& context, std::string_view text,
                           std::string_view component) {
  const std::vector<std::string> ids = record_ids(context, component, nullptr);
  if (text == "latest") {
    if (!ids.empty()) return ids.back();
    throw Error(ErrorKind::kNotFound,
                component.empty() ? std::string("there is no backup yet")
                                  : fmt::format("there is no backup of {} yet", component),
                "Take one: holdfast backup.");
  }
  std::vector<std::string_view> matching;
  std::string_view newest;  // of the component of that name
  for (const std::string& id : ids) {
    if (id == text) return id;
    if (!text.empty() && id.starts_with(text)) matching.push_back(id);
    if (component_of(id) == text) newest = id;
  }
  if (!newest.empty()) return std::string(newest);
  if (matching.empty()) not_found(text);
  if (matching.size() > 1) {
    throw Error(ErrorKind::kUsage,
                fmt::format("'{}' stands for {} backups, from {} to {}", text, matching.size(),
                            matching.front(), matching.back()),
                "Give more of the id.");
  }
  return std::string(matching.front());
}

}  // namespace holdfast::repository
