#include "stack/value.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <cstdlib>

#include "base/file.h"

namespace holdfast::stack {
namespace {

constexpr std::size_t kMaxFileBytes = 1024 * 1024;
constexpr std::size_t kMaxValues = 100'000;  // aliases can make a small file a huge tree
constexpr int kMaxDepth = 32;

bool is_name_character(char c) {
  return c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

class Reader {
 public:
  explicit Reader(const std::filesystem::path& file) : file_(file) {}

  Value read(const YAML::Node& node, int depth) {
    Value value;
    value.at = position(node.Mark());
    if (++values_ > kMaxValues || depth > kMaxDepth) {
      throw config_error(file_, value.at, "the configuration is too large or too deeply nested");
    }
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        break;
      case YAML::NodeType::Scalar:
        value.kind = Value::Kind::kText;
        value.text = expand(node.Scalar(), value.at);
        break;
      case YAML::NodeType::Sequence:
        value.kind = Value::Kind::kList;
        for (const auto& item : node) value.items.push_back(read(item, depth + 1));
        break;
      case YAML::NodeType::Map:
        value.kind = Value::Kind::kMap;
        for (const auto& entry : node) add_entry(value, entry.first, entry.second, depth);
        break;
    }
    return value;
  }

 private:
  static Position position(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

  void add_entry(Value& map, const YAML::Node& key, const YAML::Node& value, int depth) {
    const Position at = position(key.Mark());
    if (!key.IsScalar()) throw config_error(file_, at, "a key must be a word");
    for (const Entry& entry : map.entries) {
      if (entry.key != key.Scalar()) continue;
      throw config_error(file_, at,
                         fmt::format("\"{}\" stands here a second time (first in line {})",
                                     key.Scalar(), entry.at.line));
    }
    map.entries.push_back({key.Scalar(), at, read(value, depth + 1)});
  }

  // "${NAME}" takes an environment variable; "$${" stands for "${" itself.
  std::string expand(const std::string& text, Position at) {
    std::string result;
    std::size_t done = 0;
    while (true) {
      const std::size_t start = text.find("${", done);
      if (start == std::string::npos) return result += text.substr(done);
      if (start > done && text[start - 1] == '$') {
        result += text.substr(done, start - 1 - done) + "${";
        done = start + 2;
        continue;
      }
      result += text.substr(done, start - done);
      std::size_t end = start + 2;
      while (end < text.size() && is_name_character(text[end])) ++end;
      if (end == start + 2 || end == text.size() || text[end] != '}') {
        throw config_error(file_, at, "\"${\" is not followed by a name and \"}\"",
                           "write \"$${\" for the characters themselves");
      }
      const std::string name = text.substr(start + 2, end - start - 2);
      const char* variable = std::getenv(name.c_str());
      if (variable == nullptr) {
        throw config_error(file_, at, fmt::format("the environment variable {} is not set", name));
      }
      result += variable;
      done = end + 1;
    }
  }

  const std::filesystem::path& file_;
  std::size_t values_ = 0;
};

}  // namespace

const Value* Value::find(std::string_view key) const {
  for (const Entry& entry : entries) {
    if (entry.key == key) return entry.value.kind == Kind::kNull ? nullptr : &entry.value;
  }
  return nullptr;
}

std::string where(const std::filesystem::path& file, Position at) {
  return fmt::format("{}:{}:{}", file.string(), at.line, at.column);
}

base::Error config_error(const std::filesystem::path& file, Position at, std::string_view problem,
                         std::string hint) {
  return {base::ErrorKind::kConfig, fmt::format("{}: {}", where(file, at), problem),
          std::move(hint)};
}

Value read_values(const std::filesystem::path& file) {
  const std::string text = base::read_text_file(file, kMaxFileBytes);
  try {
    return Reader(file).read(YAML::Load(text), 0);
  } catch (const YAML::Exception& error) {
    const Position at{error.mark.line + 1, error.mark.column + 1};
    throw config_error(file, at, fmt::format("this is no valid YAML: {}", error.msg));
  }
}

}  // namespace holdfast::stack
