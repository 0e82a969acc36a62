// Backups as JSON and as columns.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "repository/record.h"
#include "stack/component.h"

namespace holdfast::cli {

using VerifiedTimes = std::map<std::string, base::Time>;  // by backup id

// BACKUP of the public interface. `repository`: its name in the configuration.
nlohmann::json backup_json(const repository::BackupSummary& backup, const std::string& repository,
                           const VerifiedTimes& verified);

nlohmann::json time_json(const std::optional<base::Time>& time);  // a text or null

// {"from", "to", "continuous"}.
nlohmann::json window_json(const stack::RecoveryWindow& window);
// "database: any moment from … to …".
std::string window_line(const std::string& component, const stack::RecoveryWindow& window);

// To the second, for columns.
std::string short_time(base::Time time);

}  // namespace holdfast::cli
