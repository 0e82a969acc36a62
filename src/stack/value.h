// A configuration file as a tree of values that know where they stand. Hides the YAML library.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace holdfast::stack {

// Counted from 1.
struct Position {
  int line = 0;
  int column = 0;
};

struct Entry;

struct Value {
  enum class Kind { kNull, kText, kList, kMap };
  Kind kind = Kind::kNull;
  std::string text;            // kText; "${NAME}" has been replaced
  std::vector<Value> items;    // kList
  std::vector<Entry> entries;  // kMap, in the file's order; no key stands twice
  Position at;

  const Value* find(std::string_view key) const;  // null if it is missing or empty
};

struct Entry {
  std::string key;
  Position at;
  Value value;
};

// Throws kConfig, naming file, line and column, for what is no YAML, a key given twice, or an
// environment variable that is not set.
Value read_values(const std::filesystem::path& file);

// "/etc/holdfast/holdfast.yaml:12:5".
std::string where(const std::filesystem::path& file, Position at);
base::Error config_error(const std::filesystem::path& file, Position at, std::string_view problem,
                         std::string hint = {});

}  // namespace holdfast::stack
