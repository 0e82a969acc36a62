// A dump in pg_dump's directory format, as it lies on disk.
#pragma once

#include <filesystem>
#include <stop_token>

#include "postgres/connection.h"

namespace holdfast::postgres {

// What pg_restore does not look at: that each table's data has its end and, with `large_objects`,
// that those which `snapshot` shows are there, as long as they are in it. The snapshot is a
// transaction in the state that was dumped. kFailed for a dump that is not whole.
void require_whole(const std::filesystem::path& directory, Connection& snapshot, bool large_objects,
                   const std::stop_token& stop);

}  // namespace holdfast::postgres
