// What there is on a machine that wants to be backed up: for a newcomer's first configuration.
// Files are found by their names; nothing that may be secret is opened.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "postgres/find_clusters.h"

namespace holdfast::stack {

// Where to look; tests have a machine of their own.
struct MachineRoots {
  std::filesystem::path root = "/";       // of the system
  std::filesystem::path directory;        // of the service: absolute, below the root
  std::vector<int> redis_ports = {6379};  // asked for a PONG, beside those that are configured
};

struct FoundPostgres {
  postgres::FoundCluster cluster;
  postgres::AskedCluster asked;
};

struct FoundRedis {
  std::string url;               // "redis://localhost:6379", "unix:///run/redis.sock"
  std::string config_file = {};  // empty: unknown
  bool runs = false;
  bool has_password = false;
};

struct Machine {
  std::filesystem::path directory;
  std::vector<FoundPostgres> postgres;
  std::vector<FoundRedis> redis;
  std::string compose_file;                 // in the directory; empty: none
  std::vector<std::string> config;          // names in the directory; those of folders end in '/'
  std::vector<std::filesystem::path> logs;  // directories
  std::vector<std::string> secrets;  // patterns for `include` of a component whose root is "/"
};

Machine look_at_machine(const MachineRoots& roots);

}  // namespace holdfast::stack
