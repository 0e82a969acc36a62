// Backups as JSON and as columns.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "repository/record.h"

namespace holdfast::cli {

using VerifiedTimes = std::map<std::string, base::Time>;  // by backup id

// BACKUP of the public interface. `repository`: its name in the configuration.
nlohmann::json backup_json(const repository::BackupSummary& backup, const std::string& repository,
                           const VerifiedTimes& verified);

nlohmann::json time_json(const std::optional<base::Time>& time);  // a text or null

// To the second, for columns.
std::string short_time(base::Time time);

}  // namespace holdfast::cli
