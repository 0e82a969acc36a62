// What a restore says of packs in cold storage.
#pragma once

#include <string>

#include "cli/session.h"
#include "repository/cold_packs.h"

namespace holdfast::cli {

// From --thaw, --thaw-days and --wait; kUsage for what makes no sense.
repository::ThawRequest thaw_request(const Arguments& arguments);

// Prints what must be thawed, how long it takes and about what it costs. Gives the exit status:
// that of an error, or attention where the request was sent.
int report_frozen(Session& session, const std::string& component,
                  const repository::FrozenError& error);

}  // namespace holdfast::cli
