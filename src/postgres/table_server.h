// Brings up a private server that holds the tables as they were.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "postgres/private_server.h"
#include "postgres/scratch_directory.h"
#include "postgres/table_source.h"
#include "repository/cold_packs.h"

namespace holdfast::postgres {

struct TableServerOptions {
  std::vector<std::string> users;  // roles that the backup may have
  std::string restore_command;     // with %f and %p
  int workers = 2;
  repository::ThawRequest thaw = {};
};

struct TableServer {
  std::unique_ptr<PrivateServer> server;
  std::string database;  // that the tables are in
};

// From a backup or from a dump; the server's files are in `scratch`, which outlives it. Ready when
// this returns.
TableServer start_table_server(const repository::Context& context, const TableSource& source,
                               const ScratchDirectory& scratch, const TableServerOptions& options,
                               base::Progress& progress, const std::stop_token& stop);

// pg_dumpall's script with each tablespace in a directory below `place` instead of its own, which
// the original server may be using. Apart for the tests; nothing is made.
std::string with_tablespaces_in(const std::string& script, const std::filesystem::path& place,
                                std::vector<std::filesystem::path>& directories);

}  // namespace holdfast::postgres
