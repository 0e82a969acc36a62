#include "files/details.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace holdfast::files {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;

bool is_utf8(const std::string& text) {
  try {
    static_cast<void>(json(text).dump());
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

// A path that is no UTF-8 cannot stand in JSON as it is: its bytes stand beside what can be shown.
json json_of(const std::vector<Problem>& problems) {
  json list = json::array();
  for (const Problem& problem : problems) {
    list.push_back({{"path", problem.path}, {"problem", problem.what}});
    if (!is_utf8(problem.path)) {
      list.back()["path_bytes"] = base::to_hex(base::as_bytes(problem.path));
    }
  }
  return list;
}

std::string path_of(const json& item) {
  const auto bytes = item.find("path_bytes");
  if (bytes == item.end()) return item.at("path").get<std::string>();
  const std::string hex = bytes->get<std::string>();
  base::Bytes path(hex.size() / 2);
  if (!base::from_hex(hex, path)) throw Error(ErrorKind::kDamaged, "a path makes no sense");
  return std::string(base::as_text(path));
}

std::vector<Problem> problems_of(const json& object, const char* key) {
  std::vector<Problem> problems;
  for (const json& item : object.value(key, json::array())) {
    problems.push_back({path_of(item), item.at("problem").get<std::string>()});
  }
  return problems;
}

json json_of(const repository::FileEntry& root) {
  json xattrs = json::object();
  for (const auto& [name, value] : root.xattrs) xattrs[name] = base::to_hex(base::as_bytes(value));
  return {{"mode", fmt::format("{:04o}", root.mode)},
          {"owner", root.owner},
          {"uid", root.uid},
          {"group", root.group},
          {"gid", root.gid},
          {"modified", base::format_time(root.modified)},
          {"modified_ns", root.modified_ns},
          {"on_the_way", root.on_the_way},
          {"xattrs", xattrs}};
}

std::uint32_t mode_of(const std::string& text) {
  constexpr unsigned long kModeBits = 07777;
  std::size_t used = 0;
  unsigned long mode = 0;
  try {
    mode = std::stoul(text, &used, 8);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used == 0 || used != text.size() || mode > kModeBits) {
    throw Error(ErrorKind::kDamaged, "the rights of its root make no sense");
  }
  return static_cast<std::uint32_t>(mode);
}

repository::FileEntry root_of(const json& object) {
  repository::FileEntry root;
  root.type = repository::FileType::kDirectory;
  root.mode = mode_of(object.at("mode").get<std::string>());
  root.owner = object.at("owner").get<std::string>();
  root.uid = object.at("uid").get<std::uint32_t>();
  root.group = object.at("group").get<std::string>();
  root.gid = object.at("gid").get<std::uint32_t>();
  const auto modified = base::parse_time(object.at("modified").get<std::string>(), {});
  root.modified_ns = object.at("modified_ns").get<std::uint32_t>();
  if (!modified || root.modified_ns > 999) {
    throw Error(ErrorKind::kDamaged, "the time of its root makes no sense");
  }
  root.modified = *modified;
  root.on_the_way = object.at("on_the_way").get<bool>();
  for (const auto& [name, value] : object.at("xattrs").items()) {
    const std::string hex = value.get<std::string>();
    base::Bytes bytes(hex.size() / 2);
    if (!base::from_hex(hex, bytes)) {
      throw Error(ErrorKind::kDamaged, "an attribute of its root makes no sense");
    }
    root.xattrs.push_back({name, std::string(base::as_text(bytes))});
  }
  return root;
}

FilesDetails parse(const json& object) {
  FilesDetails details;
  details.root = object.value("root", "");
  details.include = object.value("include", std::vector<std::string>{});
  details.exclude = object.value("exclude", std::vector<std::string>{});
  details.root_entry = root_of(object.at("root_entry"));
  details.lost = problems_of(object, "lost");
  details.changed = problems_of(object, "changed");
  details.left_out = problems_of(object, "left_out");
  details.files_lost = object.at("files_lost").get<std::uint64_t>();
  details.files_changed = object.at("files_changed").get<std::uint64_t>();
  details.files_left_out = object.at("files_left_out").get<std::uint64_t>();
  details.files_reused = object.at("files_reused").get<std::uint64_t>();
  return details;
}

}  // namespace

std::string details_to_json(const FilesDetails& details, bool secret) {
  json object = {{"root_entry", json_of(details.root_entry)},
                 {"files_lost", details.files_lost},
                 {"files_changed", details.files_changed},
                 {"files_left_out", details.files_left_out},
                 {"files_reused", details.files_reused}};
  if (secret) {
    object["root_entry"]["xattrs"] = json::object();  // their values may be what is secret
  } else {
    object["root"] = details.root;
    object["include"] = details.include;
    object["exclude"] = details.exclude;
    object["lost"] = json_of(details.lost);
    object["changed"] = json_of(details.changed);
    object["left_out"] = json_of(details.left_out);
  }
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

FilesDetails details_of(const repository::BackupSummary& summary) {
  return base::with_context(
      [&] { return fmt::format("while reading the record of {}", summary.id); },
      [&] {
        if (summary.type != kFilesType && summary.type != kSecretsType) {
          throw Error(ErrorKind::kDamaged, "it is no backup of files");
        }
        try {
          return parse(json::parse(summary.details_json));
        } catch (const json::exception& problem) {
          throw Error(ErrorKind::kDamaged,
                      fmt::format("its details are malformed: {}", problem.what()));
        }
      });
}

}  // namespace holdfast::files
