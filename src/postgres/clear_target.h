// Prepares a directory that holds something for a restore over it.
#pragma once

#include <string>
#include <vector>

#include "postgres/restore_target.h"
#include "repository/file_table.h"

namespace holdfast::postgres {

// Takes pg_control away, durably: no server starts without it. Before any other change.
void make_unstartable(const RestorePlaces& places);

// Removes whatever is not of the backup: in the data directory, and in those directories of the
// tablespaces that the backup has too (others there are of other clusters). What is left are
// regular files, with no other name, directories and tablespace links that the backup has. Links
// are removed and never followed, a disk that is mounted where nothing belongs stays, and so does
// lost+found. Returns what the user should know of.
std::vector<std::string> clear_away(const RestorePlaces& places,
                                    const std::vector<repository::FileEntry>& files,
                                    const std::vector<repository::FileEntry>& directories);

}  // namespace holdfast::postgres
