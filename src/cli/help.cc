#include "cli/help.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "stack/nearest.h"
#include "stack/schema.h"

namespace holdfast::cli {
namespace {

using base::Error;
using base::ErrorKind;

// Help wraps at 80 columns; the words of an option begin here.
constexpr std::size_t kHelpColumn = 28;
constexpr std::size_t kLineWidth = 80;

std::string wrapped(std::string_view text, std::size_t indent) {
  std::string result;
  std::size_t column = indent;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    if (column > indent && column + 1 + end > kLineWidth) {
      result += fmt::format("\n{:{}}", "", indent);
      column = indent;
    } else if (column > indent) {
      result += ' ';
      ++column;
    }
    result += text.substr(0, end);
    column += end;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return result;
}

std::string option_lines(std::span<const Option> options) {
  std::string result;
  for (const Option& option : options) {
    const std::string letter = option.letter == 0 ? "    " : fmt::format("-{}, ", option.letter);
    const std::string left = fmt::format("  {}{}{}{}", letter, option.name,
                                         option.value.empty() ? "" : " ", option.value);
    const std::string gap = left.size() + 1 > kHelpColumn
                                ? fmt::format("\n{:{}}", "", kHelpColumn)
                                : std::string(kHelpColumn - left.size(), ' ');
    result += left + gap + wrapped(option.help, kHelpColumn) +
              (option.repeats ? " (may be repeated)" : "") + "\n";
  }
  return result;
}

const Command* find(const std::string& name) {
  for (const Command& command : language().commands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

// "key": its subcommands, one usage each.
std::string group_text(const std::string& group) {
  std::string result;
  for (const Command& command : language().commands) {
    if (!command.name.starts_with(group + " ")) continue;
    result += fmt::format("  {:<24}{}\n", fmt::format("{} {}", command.name, command.arguments),
                          wrapped(command.summary, 26));
  }
  return result.empty()
             ? result
             : fmt::format("Commands:\n{}\n`holdfast help {} NAME` tells more.", result, group);
}

std::string text_for(const std::vector<std::string>& topic) {
  if (topic.empty()) return help_text();
  const std::string name = fmt::format("{}", fmt::join(topic, " "));
  if (name == "configuration") {
    return fmt::format("The configuration, in YAML. ${{NAME}} takes an environment variable.\n\n{}",
                       stack::configuration_reference());
  }
  if (const Command* command = find(name)) return help_text(*command);
  if (const std::string text = group_text(name); !text.empty()) return text;
  std::vector<std::string_view> names;
  for (const Command& command : language().commands) names.push_back(command.name);
  throw Error(ErrorKind::kUsage, fmt::format("there is no help on \"{}\"", name),
              stack::suggest(name, names));
}

void print_text(Session& session, const std::string& text) {
  session.print(text.ends_with('\n') ? text.substr(0, text.size() - 1) : text);
  if (session.json()) session.print_json({{"help", text}});
}

}  // namespace

std::string help_text() {
  std::string result =
      "holdfast backs up PostgreSQL, archives its WAL, and brings it back to any moment.\n\n"
      "Usage: holdfast [-c FILE] [-r REPOSITORY] [--json] [-q | -v] COMMAND\n\nCommands:\n";
  for (const Command& command : language().commands) {
    result += fmt::format("  {:<14}{}\n", command.name, wrapped(command.summary, 16));
  }
  result += fmt::format("\nOptions of every command:\n{}", option_lines(language().globals));
  result +=
      "\nTimes are UTC: 2024-01-17T12:00:00Z, 2024-01-17 12:00:00, 2024-01-17, -90m, -6h, -2d,\n"
      "now, latest.\n"
      "Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 done with a warning,\n"
      "4 not found, 5 damage, 6 locked by another run.\n"
      "`holdfast help COMMAND` tells more; `holdfast help configuration` shows what the\n"
      "configuration holds.\n";
  return result;
}

std::string help_text(const Command& command) {
  std::string result =
      fmt::format("holdfast {}: {}\n\nUsage: holdfast {}{}{}{}\n", command.name, command.summary,
                  command.name, command.arguments.empty() ? "" : " ", command.arguments,
                  command.options.empty() ? "" : " [OPTION...]");
  if (!command.details.empty()) result += fmt::format("\n{}\n", command.details);
  if (!command.options.empty()) {
    result += fmt::format("\nOptions:\n{}", option_lines(command.options));
  }
  result += fmt::format("\nOptions of every command:\n{}", option_lines(language().globals));
  return result;
}

void print_help(Session& session, const Command* command) {
  print_text(session, command == nullptr ? help_text() : help_text(*command));
}

int run_help(Session& session) {
  print_text(session, text_for(session.arguments().positional));
  return kDone;
}

}  // namespace holdfast::cli
