#include "postgres/recovery_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace holdfast::postgres {
namespace {

constexpr std::array<std::string_view, 9> kRecoverySettings = {
    "restore_command",           "recovery_target",          "recovery_target_name",
    "recovery_target_time",      "recovery_target_xid",      "recovery_target_lsn",
    "recovery_target_inclusive", "recovery_target_timeline", "recovery_target_action"};

constexpr std::string_view kHeading = "# Recovery settings written by holdfast restore";

// The name that a line sets, in lower case; empty for comments.
std::string setting_name(std::string_view line) {
  const auto begin = line.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  std::string name(line.substr(begin, line.find_first_of(" \t=", begin) - begin));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

bool is_ours(std::string_view line) {
  const std::string name = setting_name(line);
  return line == kHeading || std::find(kRecoverySettings.begin(), kRecoverySettings.end(), name) !=
                                 kRecoverySettings.end();
}

std::string in_quotes(std::string_view value) {
  std::string text = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') text += c;
    text += c;
  }
  return text + "'";
}

}  // namespace

std::string with_recovery_settings(
    std::string_view auto_conf, const std::vector<std::pair<std::string, std::string>>& settings) {
  std::string text;
  while (!auto_conf.empty()) {
    const auto end = auto_conf.find('\n');
    const std::string_view line = auto_conf.substr(0, end);
    auto_conf.remove_prefix(end == std::string_view::npos ? auto_conf.size() : end + 1);
    if (!is_ours(line)) text += fmt::format("{}\n", line);
  }
  text += fmt::format("{}\n", kHeading);
  for (const auto& [name, value] : settings)
    text += fmt::format("{} = {}\n", name, in_quotes(value));
  return text;
}

}  // namespace holdfast::postgres
