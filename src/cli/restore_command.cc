#include "cli/restore_command.h"

#include <fmt/format.h>

#include <filesystem>

namespace holdfast::cli {
namespace {

// The server may run anywhere and with another environment: every path is absolute.
std::string call(const std::filesystem::path& configuration) {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  return fmt::format("{} -c {}", error ? "holdfast" : quote_for_postgres(program.string()),
                     quote_for_postgres(configuration.string()));
}

std::string call(Session& session) {
  std::string result = call(session.config().file);
  const std::string& repository = session.repository_config().name;
  if (repository != session.config().repositories.front().name) {
    result += fmt::format(" -r {}", repository);
  }
  return result;
}

}  // namespace

std::string quote_for_shell(const std::string& text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,:@";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') {
      result += "'\\''";
    } else {
      result += c;
    }
  }
  return result + "'";
}

std::string quote_for_postgres(const std::string& text) {
  std::string result;
  for (const char c : quote_for_shell(text)) result.append(c == '%' ? 2 : 1, c);
  return result;
}

std::string restore_command(Session& session, const std::string& component) {
  return fmt::format("{} wal fetch --component {} %f \"%p\"", call(session), component);
}

std::string archive_command(Session& session, const std::string& component) {
  return fmt::format("{} wal push --component {} \"%p\"", call(session), component);
}

std::string archive_command_of(const std::filesystem::path& configuration,
                               const std::string& component) {
  return fmt::format("{} wal push --component {} \"%p\"", call(configuration), component);
}

}  // namespace holdfast::cli
