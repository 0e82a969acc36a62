#include "postgres/backup_details.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "postgres/page.h"

namespace holdfast::postgres {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;

Lsn lsn_of(const json& object, const char* key) {
  const std::optional<Lsn> lsn = parse_lsn(object.at(key).get<std::string>());
  if (!lsn) throw Error(ErrorKind::kDamaged, fmt::format("{} is no WAL position", key));
  return *lsn;
}

base::Time time_of(const json& object, const char* key) {
  const std::optional<base::Time> time = base::parse_time(object.at(key).get<std::string>(), {});
  if (!time) throw Error(ErrorKind::kDamaged, fmt::format("{} is no time", key));
  return *time;
}

std::uint64_t id_of(const json& object, const char* key) {
  const std::string text = object.at(key).get<std::string>();
  std::uint64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || end != text.data() + text.size()) {
    throw Error(ErrorKind::kDamaged, fmt::format("{} is no number", key));
  }
  return value;
}

BackupDetails parse(const json& object) {
  BackupDetails details;
  details.version_num = object.at("version_num").get<int>();
  details.version = object.at("version").get<std::string>();
  details.system_id = id_of(object, "system_id");
  details.timeline = object.at("timeline").get<std::uint32_t>();
  details.start_lsn = lsn_of(object, "start_lsn");
  details.stop_lsn = lsn_of(object, "stop_lsn");
  details.stop_time = time_of(object, "stop_time");
  details.block_size = object.at("block_size").get<std::uint32_t>();
  details.wal_segment_size = object.at("wal_segment_size").get<std::uint32_t>();
  details.checksums = object.at("checksums").get<bool>();
  details.data_directory = object.at("data_directory").get<std::string>();
  details.config_file = object.at("config_file").get<std::string>();
  for (const json& tablespace : object.at("tablespaces")) {
    details.tablespaces.push_back({tablespace.at("oid").get<std::uint32_t>(),
                                   tablespace.at("name").get<std::string>(),
                                   tablespace.at("location").get<std::string>()});
  }
  for (const json& database : object.at("databases")) {
    details.databases.emplace_back(database.at("oid").get<std::uint32_t>(),
                                   database.at("name").get<std::string>());
  }
  details.bad_pages = object.at("bad_pages").get<std::vector<std::string>>();
  details.method = object.value("method", "");
  details.why_method = object.value("why_method", "");
  details.other_copy = object.value("other_copy", false);
  if (const auto audit = object.find("audit"); audit != object.end()) {
    details.audited_pages = audit->at("pages").get<std::uint64_t>();
    details.unjudged_pages = audit->value("unjudged", std::uint64_t{0});
    details.audit_next = {audit->at("next_path").get<std::string>(),
                          audit->at("next_page").get<std::uint32_t>()};
    details.audit_differences = audit->at("differences").get<std::vector<std::string>>();
  }
  return details;
}

void check(const BackupDetails& details) {
  if (!is_segment_size(details.wal_segment_size) || !is_page_size(details.block_size) ||
      details.timeline == 0 || details.stop_lsn < details.start_lsn) {
    throw Error(ErrorKind::kDamaged, "its sizes or positions make no sense");
  }
}

}  // namespace

std::string details_to_json(const BackupDetails& details) {
  json tablespaces = json::array();
  for (const Tablespace& tablespace : details.tablespaces) {
    tablespaces.push_back(
        {{"oid", tablespace.oid}, {"name", tablespace.name}, {"location", tablespace.location}});
  }
  json databases = json::array();
  for (const auto& [oid, name] : details.databases) {
    databases.push_back({{"oid", oid}, {"name", name}});
  }
  const json object = {
      {"version", details.version},
      {"version_num", details.version_num},
      {"system_id", std::to_string(details.system_id)},  // 64 bits are too many for a JSON number
      {"timeline", details.timeline},
      {"start_lsn", format_lsn(details.start_lsn)},
      {"stop_lsn", format_lsn(details.stop_lsn)},
      {"stop_time", base::format_time(details.stop_time)},
      {"block_size", details.block_size},
      {"wal_segment_size", details.wal_segment_size},
      {"checksums", details.checksums},
      {"data_directory", details.data_directory},
      {"config_file", details.config_file},
      {"tablespaces", tablespaces},
      {"databases", databases},
      {"bad_pages", details.bad_pages},
      {"method", details.method},
      {"why_method", details.why_method},
      {"other_copy", details.other_copy},
      {"audit",
       {{"pages", details.audited_pages},
        {"unjudged", details.unjudged_pages},
        {"next_path", details.audit_next.path},
        {"next_page", details.audit_next.page},
        {"differences", details.audit_differences}}},
  };
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

BackupDetails details_of(const repository::BackupSummary& summary) {
  return base::with_context(
      [&] { return fmt::format("while reading the record of {}", summary.id); },
      [&] {
        try {
          BackupDetails details = parse(json::parse(summary.details_json));
          check(details);
          return details;
        } catch (const json::exception& problem) {
          throw Error(ErrorKind::kDamaged,
                      fmt::format("its PostgreSQL details are malformed: {}", problem.what()));
        }
      });
}

}  // namespace holdfast::postgres
