// Single tables as of any moment, into a database that goes on meanwhile.
#pragma once

#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/time.h"
#include "postgres/table_set.h"
#include "repository/cold_packs.h"

namespace holdfast::postgres {

struct TableRestoreRequest {
  std::string component;
  std::string connection = {};      // of the component: its user is likely to be in the backup
  std::vector<std::string> tables;  // as parse_table_name takes them
  std::string into;                 // conninfo of the target database
  std::optional<std::string> database{};  // where they were; none: found
  std::optional<std::string> backup{};    // an id, of the component or of one of its dumps
  std::optional<base::Time> at{};         // none: the end of the recovery window
  std::optional<std::string> rename_suffix{};
  bool replace = false;
  std::string restore_command;    // for the private server, with %f and %p
  std::filesystem::path scratch;  // its directory is made in there
  int workers = 2;
  repository::ThawRequest thaw = {};
};

struct TableRestoreResult {
  std::string backup;
  bool from_dump = false;
  std::vector<TakenTable> tables;       // that were asked for
  std::string database;                 // that they went to
  std::optional<base::Time> reached{};  // the last transaction that is in it
  std::string reached_lsn{};            // of the replay; empty: from a dump
  std::vector<std::string> notes;
  std::vector<std::string> warnings;  // what did not come along, or is no longer there
};

// A server of our own is brought to the moment in a scratch directory; its tables go to the target
// in one transaction; then all of it is removed, in every outcome. kRefused, before anything is
// restored, where the target has such a table and is to keep it.
TableRestoreResult restore_tables(const repository::Context& context,
                                  const TableRestoreRequest& request, base::Progress& progress,
                                  const std::stop_token& stop);

}  // namespace holdfast::postgres
