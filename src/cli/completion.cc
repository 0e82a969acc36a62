#include "cli/completion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/session.h"

namespace holdfast::cli {
namespace {

std::string first_word(std::string_view name) {
  return std::string(name.substr(0, name.find(' ')));
}

std::string second_word(std::string_view name) {
  const std::size_t space = name.find(' ');
  return space == std::string_view::npos ? "" : std::string(name.substr(space + 1));
}

std::vector<std::string> first_words(const Language& language) {
  std::vector<std::string> words;
  for (const Command& command : language.commands) {
    const std::string word = first_word(command.name);
    if (words.empty() || words.back() != word) words.push_back(word);
  }
  return words;
}

std::string second_words(const Language& language, const std::string& first) {
  std::vector<std::string> words;
  for (const Command& command : language.commands) {
    if (first_word(command.name) == first && !second_word(command.name).empty()) {
      words.push_back(second_word(command.name));
    }
  }
  return fmt::format("{}", fmt::join(words, " "));
}

std::string option_names(std::span<const Option> options) {
  std::vector<std::string> names;
  for (const Option& option : options) {
    names.emplace_back(option.name);
    if (option.letter != 0) names.push_back(fmt::format("-{}", option.letter));
  }
  return fmt::format("{}", fmt::join(names, " "));
}

// Each option that takes a value, once: the value is completed as a file, a directory or a choice.
std::vector<Option> valued_options(const Language& language) {
  std::vector<Option> result;
  std::set<std::string_view> seen;
  const auto add = [&](std::span<const Option> options) {
    for (const Option& option : options) {
      if (!option.value.empty() && seen.insert(option.name).second) result.push_back(option);
    }
  };
  add(language.globals);
  for (const Command& command : language.commands) add(command.options);
  return result;
}

std::string bash_value(const Option& option) {
  if (!option.choices.empty()) {
    return fmt::format("COMPREPLY=($(compgen -W \"{}\" -- \"$word\"))",
                       fmt::join(option.choices, " "));
  }
  if (option.hint == ValueHint::kDirectory) return "COMPREPLY=($(compgen -d -- \"$word\"))";
  if (option.hint == ValueHint::kFile) return "COMPREPLY=($(compgen -f -- \"$word\"))";
  return "COMPREPLY=()";
}

// For single quotes of a shell.
std::string single_quoted(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\'') {
      result += "'\\''";
    } else {
      result += c;
    }
  }
  return "'" + result + "'";
}

}  // namespace

std::string bash_completion(const Language& language) {
  std::string out =
      "# holdfast completion for bash: source it, or put it into\n"
      "# /etc/bash_completion.d/holdfast.\n"
      "_holdfast() {\n"
      "  local word=\"${COMP_WORDS[COMP_CWORD]}\" previous=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
      "  local first=\"\" second=\"\" i\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    case \"${COMP_WORDS[i]}\" in\n"
      "      -c|--config|-r|--repository) ((i++)) ;;\n"
      "      -*) ;;\n"
      "      *) if [[ -z $first ]]; then first=\"${COMP_WORDS[i]}\";\n"
      "         elif [[ -z $second ]]; then second=\"${COMP_WORDS[i]}\"; fi ;;\n"
      "    esac\n"
      "  done\n"
      "  case \"$previous\" in\n";
  for (const Option& option : valued_options(language)) {
    const std::string letter = option.letter == 0 ? "" : fmt::format("|-{}", option.letter);
    out += fmt::format("    {}{}) {}; return ;;\n", option.name, letter, bash_value(option));
  }
  out += "  esac\n  local words\n  case \"$first\" in\n";
  out += fmt::format("    '') words=\"{} {}\" ;;\n", fmt::join(first_words(language), " "),
                     option_names(language.globals));
  for (const std::string& first : first_words(language)) {
    const std::string subcommands = second_words(language, first);
    if (subcommands.empty()) continue;
    out +=
        fmt::format("    {}) if [[ -z $second ]]; then words=\"{}\"; fi ;;\n", first, subcommands);
  }
  out += "  esac\n  case \"$first $second\" in\n";
  for (const Command& command : language.commands) {
    const bool group = !second_word(command.name).empty();
    out += fmt::format("    \"{}{}) words+=\" {} {}\" ;;\n", command.name, group ? "\"" : " \"*",
                       option_names(command.options), option_names(language.globals));
  }
  out +=
      "  esac\n"
      "  if [[ $first == completion ]]; then words+=\" bash zsh fish\"; fi\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
      "  if [[ -z $words || $first == wal && $word != -* ]]; then\n"
      "    COMPREPLY+=($(compgen -f -- \"$word\"))\n"
      "  fi\n"
      "}\n"
      "complete -o filenames -F _holdfast holdfast\n";
  return out;
}

// zsh completes through the functions that it has for bash's scripts.
std::string zsh_completion(const Language& language) {
  return "#compdef holdfast\n"
         "autoload -U +X bashcompinit && bashcompinit\n" +
         bash_completion(language);
}

std::string fish_completion(const Language& language) {
  std::string out =
      "# holdfast completion for fish: put it into\n"
      "# ~/.config/fish/completions/holdfast.fish.\n"
      "complete -c holdfast -f\n";
  const auto option_line = [](const std::string& condition, const Option& option) {
    std::string line =
        fmt::format("complete -c holdfast{} -l {}", condition, option.name.substr(2));
    if (option.letter != 0) line += fmt::format(" -s {}", option.letter);
    if (!option.choices.empty()) {
      line += fmt::format(" -x -a {}",
                          single_quoted(fmt::format("{}", fmt::join(option.choices, " "))));
    } else if (option.hint != ValueHint::kNone) {
      line += " -r -F";
    } else if (!option.value.empty()) {
      line += " -x";
    }
    return line + fmt::format(" -d {}\n", single_quoted(option.help));
  };
  for (const Option& option : language.globals) out += option_line("", option);
  std::set<std::string> seen;
  for (const Command& command : language.commands) {
    const std::string first = first_word(command.name);
    const std::string second = second_word(command.name);
    if (second.empty()) {
      out += fmt::format("complete -c holdfast -n __fish_use_subcommand -a {} -d {}\n", first,
                         single_quoted(command.summary));
    } else {
      if (seen.insert(first).second) {
        out += fmt::format("complete -c holdfast -n __fish_use_subcommand -a {}\n", first);
      }
      out += fmt::format(
          "complete -c holdfast -n '__fish_seen_subcommand_from {0}; and not "
          "__fish_seen_subcommand_from {1}' -a {2} -d {3}\n",
          first, second_words(language, first), second, single_quoted(command.summary));
    }
    std::string condition = fmt::format(" -n '__fish_seen_subcommand_from {}", first);
    if (!second.empty()) condition += fmt::format("; and __fish_seen_subcommand_from {}", second);
    condition += "'";
    for (const Option& option : command.options) out += option_line(condition, option);
  }
  out += "complete -c holdfast -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n";
  return out;
}

int run_completion(Session& session) {
  const std::string& shell = session.arguments().positional[0];
  std::string script;
  if (shell == "bash") {
    script = bash_completion(language());
  } else if (shell == "zsh") {
    script = zsh_completion(language());
  } else if (shell == "fish") {
    script = fish_completion(language());
  } else {
    throw base::Error(base::ErrorKind::kUsage, fmt::format("no completion for \"{}\"", shell),
                      "one of bash, zsh, fish");
  }
  if (session.json()) {
    session.print_json({{"shell", shell}, {"script", script}});
  } else {
    fmt::print(session.out(), "{}", script);
  }
  return kDone;
}

}  // namespace holdfast::cli
