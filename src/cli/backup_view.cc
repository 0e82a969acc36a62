#include "cli/backup_view.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace holdfast::cli {

nlohmann::json time_json(const std::optional<base::Time>& time) {
  return time ? nlohmann::json(base::format_time(*time)) : nlohmann::json(nullptr);
}

nlohmann::json window_json(const stack::RecoveryWindow& window) {
  return {{"from", time_json(window.from)},
          {"to", time_json(window.to)},
          {"continuous", window.continuous}};
}

std::string window_line(const std::string& component, const stack::RecoveryWindow& window) {
  if (!window.from) return fmt::format("{}: no backup yet", component);
  const std::string from = short_time(*window.from);
  const std::string to = short_time(window.to.value_or(*window.from));
  if (window.continuous) return fmt::format("{}: any moment from {} to {}", component, from, to);
  return fmt::format("{}: the ends of its backups, from {} to {}{}", component, from, to,
                     window.has_logs ? "; WAL is not whole behind them" : "");
}

std::string short_time(base::Time time) {
  return base::format_time(std::chrono::floor<std::chrono::seconds>(time));
}

nlohmann::json backup_json(const repository::BackupSummary& backup, const std::string& repository,
                           const VerifiedTimes& verified) {
  nlohmann::json result = repository::to_json(backup);
  result["repository"] = repository;
  const auto found = verified.find(backup.id);
  result["verified"] =
      time_json(found == verified.end() ? std::nullopt : std::optional(found->second));
  result["warnings"] = backup.warnings;
  return result;
}

}  // namespace holdfast::cli
