// What may stand in a configuration: one table (in schema.cc) from which the checks, their hints
// and the reference in `holdfast help configuration` follow.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "stack/value.h"

namespace holdfast::stack {

enum class ValueType {
  kText,
  kTextList,  // a text, or a list of them
  kPath,
  kInteger,      // from `least` to `most`
  kBoolean,      // true or false
  kChoice,       // one of `choices`
  kChoices,      // a list of them
  kDuration,     // 15m
  kSize,         // 200MiB
  kShare,        // 2%
  kWorkers,      // "auto" or a number
  kSchedule,     // five fields, as in a crontab
  kSecret,       // {file: PATH} or {env: NAME}
  kMap,          // of `keys`
  kChoiceOrMap,  // one of `choices`, or a map of `keys`
  kTexts,        // names and texts of the user's own
  kList,         // of `item`
  kNamed,        // names of the user's own, each with an `item`
  kByTypeKey,    // a map whose key "type" says which of `keys` (each a kMap) it is
};

struct Key;

struct Schema {
  ValueType type = ValueType::kText;
  std::span<const Key> keys{};
  const Schema* item = nullptr;
  std::span<const std::string_view> choices{};
  int least = 0;
  int most = 0;
};

enum class Presence { kOptional, kRequired, kOneOf };  // kOneOf: exactly one of those marked so

struct Key {
  std::string_view name;
  const Schema* schema;
  std::string_view doc;
  Presence presence = Presence::kOptional;
};

const Schema& configuration_schema();

// Throws kConfig for the first thing that does not fit, naming file, line, column and the nearest
// known key.
void check_values(const std::filesystem::path& file, const Value& root, const Schema& schema);

// [a-z0-9][a-z0-9_-]*, at most 64 bytes: what repositories, components, jobs and plans may be
// called.
bool is_name(std::string_view text);

// "2%", "0.5%", from 0% to 100%: 0 to 1. Nullopt for anything else.
std::optional<double> parse_share(std::string_view text);

// The table as text for the user.
std::string configuration_reference();

}  // namespace holdfast::stack
