// The PostgreSQL clusters of a machine: those at work, by their processes and sockets, and those
// that Debian's /etc/postgresql knows.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "postgres/cluster.h"

namespace holdfast::postgres {

struct FoundCluster {
  std::string debian_name = {};          // "15/main"; empty: not made by Debian's tools
  std::filesystem::path data_directory;  // empty: not to be seen from here
  std::filesystem::path config_file = {};
  std::string host;  // a socket's directory, or a name; empty: unknown
  int port = 0;      // 0: unknown
  bool runs = false;
  std::optional<uid_t> owner = {};  // whom the server runs as
};

// Looks in `root`, "/" but in tests: proc, etc/postgresql, var/run/postgresql, tmp. What may not be
// read is passed over. Clusters at work first.
std::vector<FoundCluster> find_clusters(const std::filesystem::path& root);

struct AskedCluster {
  std::string connection;  // for a configuration: "host=… port=… user=… dbname=postgres"
  std::optional<ClusterInfo> info;  // none: it gave no answer
  std::string problem;              // why
};

// Connects as the server's own user where this is root, so that peer authentication lets it in: not
// while other threads open files.
AskedCluster ask_cluster(const FoundCluster& cluster);

}  // namespace holdfast::postgres
