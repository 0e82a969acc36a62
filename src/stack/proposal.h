// From what a machine has: a first configuration, and what its PostgreSQL servers must be told.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "stack/machine.h"

namespace holdfast::stack {

struct ProposalPaths {
  std::filesystem::path repository;
  std::filesystem::path key_file;
};

// holdfast.yaml, commented for who sees it for the first time. What was not found stands there as
// a commented example.
std::string propose_configuration(const Machine& machine, const ProposalPaths& paths);

// The components of the clusters, in the machine's order; empty for one that is not at work, or a
// standby.
std::vector<std::string> postgres_names(const Machine& machine);

// What a cluster's configuration must say so that its WAL is archived.
struct PostgresChange {
  std::string cluster;             // "15/main", or its data directory
  std::string file;                // empty: unknown
  std::vector<std::string> lines;  // "archive_mode = on"
  bool restart = false;            // else a reload will do
  std::string unknown;             // why it could not be asked: the lines may be there already
};

// Only of clusters that say otherwise, or could not be asked. `archive_command` gives that of a
// component, as a server runs it.
std::vector<PostgresChange> postgres_changes(
    const Machine& machine, const std::function<std::string(const std::string&)>& archive_command);

}  // namespace holdfast::stack
