// What the command line says, read against the table of commands.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::cli {

class Session;

// What a value is, so that a shell can complete it.
enum class ValueHint { kNone, kFile, kDirectory };

struct Option {
  std::string_view name;        // "--kind"
  char letter = 0;              // 'c' for "-c"
  std::string_view value = {};  // what help calls its value: "FILE"; empty: it has none
  std::string_view help = {};
  std::span<const std::string_view> choices = {};
  std::string_view default_choice = {};  // not empty: the value may be left out
  bool repeats = false;
  // Words behind its value are further values, once the command has all its arguments:
  // `restore config --only a b`.
  bool greedy = false;
  ValueHint hint = ValueHint::kNone;
};

struct Command {
  std::string_view name;       // "wal push"
  std::string_view arguments;  // "PATH", "[COMPONENT...]"
  std::size_t least = 0;       // how many of them
  std::size_t most = 0;
  std::string_view summary;
  std::span<const Option> options = {};
  std::span<const std::string_view> later = {};  // options that will come: a clear error until then
  int (*run)(Session& session) = nullptr;
  std::string_view details = {};
};

constexpr std::size_t kAnyNumber = 1000;

struct Arguments {
  const Command* command = nullptr;
  std::vector<std::string> positional;
  std::map<std::string, std::vector<std::string>, std::less<>> options;  // by "--name"

  bool has(std::string_view option) const { return options.find(option) != options.end(); }
  std::optional<std::string> value(std::string_view option) const;
  std::vector<std::string> values(std::string_view option) const;
};

struct Language {
  std::span<const Command> commands;
  std::span<const Option> globals;               // accepted before and after the command
  std::span<const std::string_view> later = {};  // commands that will come
};

// kUsage, naming what is near, for what the table does not have. Options may stand anywhere; "--"
// ends them; a value follows its option or an "=".
Arguments parse_arguments(std::span<const std::string> words, const Language& language);

}  // namespace holdfast::cli
