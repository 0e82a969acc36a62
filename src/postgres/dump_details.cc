#include "postgres/dump_details.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/error.h"
#include "crypto/hash.h"
#include "repository/file_table.h"

namespace holdfast::postgres {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;

struct FormatName {
  DumpFormat format;
  std::string_view name;
  std::string_view ending;
};
constexpr FormatName kFormats[] = {
    {DumpFormat::kCustom, "custom", ".dump"},
    {DumpFormat::kPlain, "plain", ".sql"},
    {DumpFormat::kDirectory, "directory", ""},
};

const FormatName& entry_of(DumpFormat format) {
  return *std::find_if(std::begin(kFormats), std::end(kFormats),
                       [&](const FormatName& known) { return known.format == format; });
}

constexpr std::string_view kPunctuation = "_.-";

bool is_ordinary(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool can_stand_in_id(std::string_view name) {
  return !name.empty() && is_ordinary(name.front()) &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return is_ordinary(c) || kPunctuation.find(c) != std::string_view::npos;
         });
}

// The hash tells "Shop" from "shop", which look alike once they are made fit.
std::string made_fit(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool fits = is_ordinary(lower) || (!out.empty() && can_stand_in_id(out + lower));
    out += fits ? lower : (out.empty() ? 'x' : '-');
  }
  const crypto::Digest digest = crypto::sha256(base::as_bytes(name));
  return fmt::format("{}-{:02x}{:02x}{:02x}", out, digest[0], digest[1], digest[2]);
}

bool can_be_file(std::string_view name) {
  const bool plain = std::none_of(name.begin(), name.end(), [](char c) {
    return c == '/' || c == '\x7f' || static_cast<unsigned char>(c) < 0x20;
  });
  return plain && repository::is_table_path(name);
}

base::Time time_of(const json& object, const char* key) {
  const std::optional<base::Time> time = base::parse_time(object.at(key).get<std::string>(), {});
  if (!time) throw Error(ErrorKind::kDamaged, fmt::format("{} is no time", key));
  return *time;
}

DumpDetails parse(const json& object) {
  DumpDetails details;
  details.database = object.at("database").get<std::string>();
  details.format = parse_dump_format(object.at("format").get<std::string>());
  details.tables = object.at("tables").get<std::vector<std::string>>();
  details.version_num = object.at("version_num").get<int>();
  details.server_version = object.at("server_version").get<std::string>();
  details.pg_dump_version = object.at("pg_dump_version").get<std::string>();
  details.snapshot_from = time_of(object, "snapshot_from");
  details.snapshot_to = time_of(object, "snapshot_to");
  details.path = object.at("path").get<std::string>();
  details.globals = object.at("globals").get<bool>();
  details.notes = object.at("notes").get<std::vector<std::string>>();
  details.whole_next = object.value("whole_next", false);
  if (!can_be_file(details.path)) throw Error(ErrorKind::kDamaged, "its path is not right");
  return details;
}

}  // namespace

DumpFormat parse_dump_format(std::string_view name) {
  for (const FormatName& known : kFormats) {
    if (known.name == name) return known.format;
  }
  throw Error(ErrorKind::kUsage, fmt::format("\"{}\" is no format of a dump", name),
              "the formats are custom, plain and directory");
}

std::string_view name_of(DumpFormat format) { return entry_of(format).name; }

std::string details_to_json(const DumpDetails& details) {
  json object = {
      {"database", details.database},
      {"format", name_of(details.format)},
      {"tables", details.tables},
      {"version_num", details.version_num},
      {"server_version", details.server_version},
      {"pg_dump_version", details.pg_dump_version},
      {"snapshot_from", base::format_time(details.snapshot_from)},
      {"snapshot_to", base::format_time(details.snapshot_to)},
      {"path", details.path},
      {"globals", details.globals},
      {"notes", details.notes},
  };
  if (details.whole_next) object["whole_next"] = true;
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

DumpDetails dump_details_of(const repository::BackupSummary& summary) {
  return base::with_context(
      [&] { return fmt::format("while reading the record of {}", summary.id); },
      [&] {
        try {
          if (summary.type != kDumpType) throw Error(ErrorKind::kDamaged, "it is no dump");
          return parse(json::parse(summary.details_json));
        } catch (const json::exception& problem) {
          throw Error(ErrorKind::kDamaged,
                      fmt::format("its details are malformed: {}", problem.what()));
        } catch (const Error& error) {
          throw Error(ErrorKind::kDamaged, error.what());
        }
      });
}

std::string dump_component(std::string_view component, std::string_view database) {
  return fmt::format("{}.{}", component,
                     can_stand_in_id(database) ? std::string(database) : made_fit(database));
}

std::string dump_path(std::string_view database, DumpFormat format) {
  const std::string_view ending = entry_of(format).ending;
  std::string path = fmt::format("{}{}", database, ending);
  if (can_be_file(path) && path != kGlobalsFile) return path;
  return fmt::format("{}{}", made_fit(database), ending);
}

}  // namespace holdfast::postgres
