#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/time.h"
#include "stack/nearest.h"
#include "stack/schema.h"

namespace holdfast::stack {
namespace {

std::vector<std::string_view> names_of(std::span<const Key> keys) {
  std::vector<std::string_view> names;
  for (const Key& key : keys) names.push_back(key.name);
  return names;
}

bool is_integer(std::string_view text, int least, int most) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && value >= least &&
         value <= most;
}

// Five fields, or @daily and the like. What the fields mean is the scheduler's business.
bool is_schedule(std::string_view text) {
  static constexpr std::string_view kFieldCharacters =
      "0123456789*/,-ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  if (text.starts_with('@')) {
    return text == "@hourly" || text == "@daily" || text == "@weekly" || text == "@monthly";
  }
  int fields = 0;
  while (true) {
    const std::size_t start = text.find_first_not_of(" \t");
    if (start == std::string_view::npos) return fields == 5;
    text.remove_prefix(start);
    const std::string_view field = text.substr(0, text.find_first_of(" \t"));
    if (field.find_first_not_of(kFieldCharacters) != std::string_view::npos) return false;
    text.remove_prefix(field.size());
    ++fields;
  }
}

class Checker {
 public:
  explicit Checker(const std::filesystem::path& file) : file_(file) {}

  void check(const Value& value, const Schema& schema, const std::string& path) const {
    switch (schema.type) {
      case ValueType::kTextList:
        return check_texts(value, path);
      case ValueType::kChoices:
        return check_choices(value, schema, path);
      case ValueType::kSecret:
        return check_secret(value, path);
      case ValueType::kMap:
        return check_map(value, schema.keys, path);
      case ValueType::kChoiceOrMap:
        if (value.kind == Value::Kind::kMap) return check_map(value, schema.keys, path);
        want(value.kind == Value::Kind::kText, value, path, "a word or a map");
        return check_choice(value, schema, path);
      case ValueType::kTexts:
        return check_named_texts(value, path);
      case ValueType::kList:
        return check_list(value, schema, path);
      case ValueType::kNamed:
        return check_named(value, schema, path);
      case ValueType::kByTypeKey:
        return check_by_type(value, schema, path);
      default:
        return check_scalar(value, schema, path);
    }
  }

 private:
  [[noreturn]] void fail(Position at, const std::string& problem, std::string hint = {}) const {
    throw config_error(file_, at, problem, std::move(hint));
  }
  void want(bool good, const Value& value, const std::string& path, std::string_view what) const {
    if (!good) fail(value.at, fmt::format("{} must be {}", path, what));
  }

  void check_scalar(const Value& value, const Schema& schema, const std::string& path) const {
    using enum ValueType;
    const std::string& text = value.text;
    const bool scalar = value.kind == Value::Kind::kText;
    switch (schema.type) {
      case kInteger:
        return want(scalar && is_integer(text, schema.least, schema.most), value, path,
                    fmt::format("a number from {} to {}", schema.least, schema.most));
      case kBoolean:
        return want(scalar && (text == "true" || text == "false"), value, path, "true or false");
      case kDuration:
        return want(scalar && base::parse_duration(text), value, path,
                    "a duration, such as 90s, 15m, 6h, 7d, 4w, 12mo or 1y");
      case kSize:
        return want(scalar && base::parse_size(text), value, path,
                    "a size, such as 512KiB, 32MiB or 1GB");
      case kShare:
        return want(scalar && parse_share(text), value, path, "a share from 0% to 100%");
      case kWorkers:
        return want(scalar && (text == "auto" || is_integer(text, 1, 256)), value, path,
                    "auto or a number from 1 to 256");
      case kSchedule:
        return want(scalar && is_schedule(text), value, path,
                    "five fields as in a crontab, such as \"0 2 * * *\"");
      case kChoice:
        want(scalar, value, path, "text");
        return check_choice(value, schema, path);
      default:
        want(scalar, value, path, "text");
        return want(!text.empty(), value, path, "text that is not empty");
    }
  }

  void check_choice(const Value& value, const Schema& schema, const std::string& path) const {
    const auto& choices = schema.choices;
    if (std::find(choices.begin(), choices.end(), value.text) != choices.end()) return;
    fail(value.at,
         fmt::format("{} is \"{}\" and must be one of: {}", path, value.text,
                     fmt::join(choices, ", ")),
         suggest(value.text, {choices.begin(), choices.end()}));
  }

  void check_choices(const Value& value, const Schema& schema, const std::string& path) const {
    want(value.kind == Value::Kind::kList, value, path, "a list");
    for (const Value& item : value.items) {
      want(item.kind == Value::Kind::kText, item, path, "a list of words");
      check_choice(item, schema, path);
    }
  }

  void check_texts(const Value& value, const std::string& path) const {
    if (value.kind == Value::Kind::kText) return;
    want(value.kind == Value::Kind::kList, value, path, "text, or a list of texts");
    for (const Value& item : value.items) {
      want(item.kind == Value::Kind::kText && !item.text.empty(), item, path, "a list of texts");
    }
  }

  void check_named_texts(const Value& value, const std::string& path) const {
    want(value.kind == Value::Kind::kMap, value, path, "a map of names and texts");
    for (const Entry& entry : value.entries) {
      want(entry.value.kind == Value::Kind::kText, entry.value, path + "." + entry.key, "text");
    }
  }

  // The value itself is never repeated: it may be the secret.
  void check_secret(const Value& value, const std::string& path) const {
    constexpr std::string_view kAdvice = "write {file: PATH} or {env: NAME}";
    if (value.kind == Value::Kind::kText) {
      fail(value.at, fmt::format("{} holds the secret itself", path),
           fmt::format("a secret must not stand in the configuration: {}", kAdvice));
    }
    static constexpr std::string_view kKnown[] = {"file", "env"};
    for (const Entry& entry : value.entries) {
      if (entry.key == "file" || entry.key == "env") continue;
      fail(entry.at, fmt::format("unknown key \"{}\" in {}", entry.key, path),
           suggest(entry.key, {std::begin(kKnown), std::end(kKnown)}));
    }
    const bool one = value.kind == Value::Kind::kMap && value.entries.size() == 1 &&
                     value.entries[0].value.kind == Value::Kind::kText &&
                     !value.entries[0].value.text.empty();
    if (!one) fail(value.at, fmt::format("{} must name its source", path), std::string(kAdvice));
  }

  void check_map(const Value& value, std::span<const Key> keys, const std::string& path) const {
    want(value.kind == Value::Kind::kMap, value, path, "a map of keys and values");
    for (const Entry& entry : value.entries) check_entry(entry, keys, path);
    std::vector<std::string_view> alternatives;
    int given = 0;
    for (const Key& key : keys) {
      const Value* found = value.find(key.name);
      if (key.presence == Presence::kRequired && found == nullptr) {
        fail(value.at, fmt::format("{} lacks the key \"{}\" ({})", path, key.name, key.doc));
      }
      if (key.presence != Presence::kOneOf) continue;
      alternatives.push_back(key.name);
      if (found != nullptr) ++given;
    }
    if (!alternatives.empty() && given != 1) {
      fail(value.at,
           fmt::format("{} must have exactly one of: {}", path, fmt::join(alternatives, ", ")));
    }
  }

  void check_entry(const Entry& entry, std::span<const Key> keys, const std::string& path) const {
    const auto key = std::find_if(keys.begin(), keys.end(),
                                  [&](const Key& known) { return known.name == entry.key; });
    if (key == keys.end()) {
      fail(entry.at, fmt::format("unknown key \"{}\" in {}", entry.key, path),
           suggest(entry.key, names_of(keys)));
    }
    if (entry.value.kind == Value::Kind::kNull) return;  // as if it were not there
    const bool top = path == kTopName;
    check(entry.value, *key->schema, top ? entry.key : path + "." + entry.key);
  }

  void check_list(const Value& value, const Schema& schema, const std::string& path) const {
    want(value.kind == Value::Kind::kList, value, path, "a list");
    for (std::size_t i = 0; i < value.items.size(); ++i) {
      check(value.items[i], *schema.item, fmt::format("{}[{}]", path, i + 1));
    }
  }

  void check_named(const Value& value, const Schema& schema, const std::string& path) const {
    want(value.kind == Value::Kind::kMap, value, path, "a map of names");
    for (const Entry& entry : value.entries) {
      if (!is_name(entry.key) || entry.key == "all") {
        fail(entry.at, fmt::format("\"{}\" is no name for one of the {}", entry.key, path),
             "names are made of a-z, 0-9, _ and -, begin with a letter or digit, and are not "
             "\"all\"");
      }
      check(entry.value, *schema.item, path + "." + entry.key);
    }
  }

  void check_by_type(const Value& value, const Schema& schema, const std::string& path) const {
    want(value.kind == Value::Kind::kMap, value, path, "a map of keys and values");
    const Value* type = value.find("type");
    if (type == nullptr || type->kind != Value::Kind::kText) {
      fail(value.at, fmt::format("{} lacks the key \"type\"", path),
           fmt::format("one of: {}", fmt::join(names_of(schema.keys), ", ")));
    }
    const auto kind = std::find_if(schema.keys.begin(), schema.keys.end(),
                                   [&](const Key& known) { return known.name == type->text; });
    if (kind == schema.keys.end()) {
      fail(type->at, fmt::format("{} has the unknown type \"{}\"", path, type->text),
           suggest(type->text, names_of(schema.keys)));
    }
    check(value, *kind->schema, path);
  }

  friend void holdfast::stack::check_values(const std::filesystem::path&, const Value&,
                                            const Schema&);
  static constexpr std::string_view kTopName = "the configuration";
  const std::filesystem::path& file_;
};

}  // namespace

bool is_name(std::string_view text) {
  constexpr std::size_t kLongestName = 64;
  if (text.empty() || text.size() > kLongestName || text[0] == '_' || text[0] == '-') return false;
  return text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") == std::string_view::npos;
}

void check_values(const std::filesystem::path& file, const Value& root, const Schema& schema) {
  Checker(file).check(root, schema, std::string(Checker::kTopName));
}

std::optional<double> parse_share(std::string_view text) {
  if (!text.ends_with('%')) return std::nullopt;
  text.remove_suffix(1);
  double percent = 0;
  const auto [end, problem] =
      std::from_chars(text.data(), text.data() + text.size(), percent, std::chars_format::fixed);
  if (problem != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (!(percent >= 0 && percent <= 100)) return std::nullopt;
  return percent / 100;
}

}  // namespace holdfast::stack
