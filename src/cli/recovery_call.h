// `wal fetch` as PostgreSQL's restore_command: what its exit status means there.
//
// PostgreSQL takes 1 to 125 for "the archive does not have it", and ends recovery there: a cluster
// whose WAL could not be fetched for a moment would be promoted as it is, without the rest, and
// nobody told. Above 125 recovery stops with an error; 128 + SIGTERM ends it quietly. See
// RestoreArchivedFile() in PostgreSQL's access/transam/xlogarchive.c.
#pragma once

#include <span>
#include <string>

#include "base/error.h"

namespace holdfast::cli {

// `wal fetch NAME pg_wal/RECOVERYXLOG` (or RECOVERYHISTORY), the names that recovery asks for, in a
// data directory. Not on a standby: it asks again, and has another source.
bool is_called_by_recovery(std::span<const std::string> words);

int status_for_recovery(base::ErrorKind failure);

}  // namespace holdfast::cli
