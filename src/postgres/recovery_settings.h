// What a restored data directory is told about its recovery.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::postgres {

// The new content of postgresql.auto.conf: what was there without any recovery setting of before
// (the server refuses two targets at once), then `settings`, quoted.
std::string with_recovery_settings(
    std::string_view auto_conf, const std::vector<std::pair<std::string, std::string>>& settings);

}  // namespace holdfast::postgres
