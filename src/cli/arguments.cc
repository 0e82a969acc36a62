#include "cli/arguments.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "stack/nearest.h"

namespace holdfast::cli {
namespace {

[[noreturn]] void fail(const std::string& problem, std::string hint = {}) {
  throw base::Error(base::ErrorKind::kUsage, problem, std::move(hint));
}

bool contains(std::span<const std::string_view> words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string see_help(const Command& command) {
  return fmt::format("see `holdfast help {}`", command.name);
}

class Parser {
 public:
  Parser(std::span<const std::string> words, const Language& language)
      : words_(words), language_(language) {}

  Arguments parse() {
    while (next_ < words_.size()) {
      const std::string& word = words_[next_++];
      if (!options_ended_ && word == "--") {
        options_ended_ = true;
      } else if (!options_ended_ && word.starts_with("--")) {
        read_long(word);
      } else if (!options_ended_ && word.size() > 1 && word[0] == '-') {
        read_letters(word);
      } else {
        read_word(word);
      }
    }
    finish();
    return std::move(result_);
  }

 private:
  // Before the command is known its words are gathered; after that they are its arguments.
  void read_word(const std::string& word) {
    if (result_.command != nullptr) {
      result_.positional.push_back(word);
      return;
    }
    const std::string name = group_.empty() ? word : group_ + " " + word;
    for (const Command& command : language_.commands) {
      if (command.name == name) {
        result_.command = &command;
        return;
      }
    }
    if (group_.empty() && is_group(word)) {
      group_ = word;
      return;
    }
    if (contains(language_.later, name)) {
      fail(fmt::format("`{}` is not in this version yet", name));
    }
    fail(fmt::format("there is no command `{}`", name), suggest_command(name));
  }

  bool is_group(const std::string& word) const {
    return std::any_of(
        language_.commands.begin(), language_.commands.end(),
        [&](const Command& command) { return command.name.starts_with(word + " "); });
  }

  std::string suggest_command(const std::string& name) const {
    std::vector<std::string_view> names;
    for (const Command& command : language_.commands) {
      if (group_.empty() || command.name.starts_with(group_ + " ")) names.push_back(command.name);
    }
    return stack::nearest(name, names) || !group_.empty() ? stack::suggest(name, names)
                                                          : "see `holdfast help`";
  }

  void read_long(const std::string& word) {
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const Option& option = find(name, [&](const Option& known) { return known.name == name; });
    if (equals == std::string::npos) return take(option, std::nullopt);
    if (option.value.empty()) fail(fmt::format("{} takes no value", name));
    take(option, word.substr(equals + 1));
  }

  // "-qv", "-c FILE", "-cFILE".
  void read_letters(const std::string& word) {
    for (std::size_t i = 1; i < word.size(); ++i) {
      const Option& option = find(fmt::format("-{}", word[i]),
                                  [&](const Option& known) { return known.letter == word[i]; });
      if (option.value.empty()) {
        take(option, std::nullopt);
        continue;
      }
      const std::string rest = word.substr(i + 1);
      return take(option, rest.empty() ? std::nullopt : std::optional(rest));
    }
  }

  template <typename Matches>
  const Option& find(const std::string& name, Matches&& matches) const {
    for (const Option& option : language_.globals) {
      if (matches(option)) return option;
    }
    std::vector<std::string_view> names;
    if (result_.command != nullptr) {
      const Command& command = *result_.command;
      for (const Option& option : command.options) {
        if (matches(option)) return option;
        names.push_back(option.name);
      }
      if (contains(command.later, name)) {
        fail(fmt::format("{} is not supported by this version yet", name));
      }
    }
    for (const Option& option : language_.globals) names.push_back(option.name);
    const auto meant = stack::nearest(name, names);
    fail(result_.command != nullptr
             ? fmt::format("`{}` has no option {}", result_.command->name, name)
             : fmt::format("there is no option {} before the command", name),
         meant ? fmt::format("did you mean {}?", *meant)
               : (result_.command != nullptr ? see_help(*result_.command) : "see `holdfast help`"));
  }

  void take(const Option& option, std::optional<std::string> value) {
    if (!option.default_choice.empty() && !value) {
      const bool is_given = next_ < words_.size() && contains(option.choices, words_[next_]);
      value = is_given ? words_[next_++] : std::string(option.default_choice);
    } else if (!option.value.empty() && !value) {
      if (next_ == words_.size()) {
        fail(fmt::format("{} wants a value: {}", option.name, option.value));
      }
      value = words_[next_++];
    }
    if (value && !option.choices.empty() && !contains(option.choices, *value)) {
      fail(fmt::format("{} is one of {}, not \"{}\"", option.name, fmt::join(option.choices, ", "),
                       *value));
    }
    auto& values = result_.options[std::string(option.name)];
    if (!values.empty() && !option.repeats && !option.value.empty()) {
      fail(fmt::format("{} is given twice", option.name));
    }
    values.push_back(value.value_or(""));
    if (!option.greedy || result_.command == nullptr) return;
    if (result_.positional.size() < result_.command->most) return;
    while (next_ < words_.size() && !words_[next_].starts_with('-')) {
      values.push_back(words_[next_++]);
    }
  }

  void finish() const {
    if (result_.has("--help") || result_.has("--version")) return;
    if (result_.command == nullptr) {
      if (group_.empty()) fail("no command is given", "see `holdfast help`");
      fail(fmt::format("`{}` wants a word more", group_), suggest_command(group_ + " "));
    }
    const Command& command = *result_.command;
    const std::size_t count = result_.positional.size();
    if (count < command.least) {
      fail(fmt::format("`{}` lacks an argument: holdfast {} {}", command.name, command.name,
                       command.arguments),
           see_help(command));
    }
    if (count > command.most) {
      fail(fmt::format("`{}` does not know what to do with \"{}\"", command.name,
                       result_.positional[command.most]),
           see_help(command));
    }
  }

  std::span<const std::string> words_;
  const Language& language_;
  std::size_t next_ = 0;
  bool options_ended_ = false;
  std::string group_;  // "wal", of "wal push"
  Arguments result_;
};

}  // namespace

std::optional<std::string> Arguments::value(std::string_view option) const {
  const auto found = options.find(option);
  return found == options.end() ? std::nullopt : std::optional(found->second.back());
}

std::vector<std::string> Arguments::values(std::string_view option) const {
  const auto found = options.find(option);
  return found == options.end() ? std::vector<std::string>{} : found->second;
}

Arguments parse_arguments(std::span<const std::string> words, const Language& language) {
  return Parser(words, language).parse();
}

}  // namespace holdfast::cli
