// {"code", "message", "hint"}.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "base/error.h"

namespace holdfast::cli {

nlohmann::json error_json(const base::Error& error);

}  // namespace holdfast::cli
