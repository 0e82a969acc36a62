#include "cli/backup_view.h"

#include <nlohmann/json.hpp>

namespace holdfast::cli {

nlohmann::json time_json(const std::optional<base::Time>& time) {
  return time ? nlohmann::json(base::format_time(*time)) : nlohmann::json(nullptr);
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
