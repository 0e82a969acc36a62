// The configuration file: what stands there, checked. An unknown key, a wrong type or a missing
// file is an Error(kConfig) that names file, line and column, and the nearest known key.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "stack/s3_config.h"

namespace holdfast::stack {

// A secret as the configuration gives it: read only when it is needed.
struct SecretSource {
  enum class Kind { kNone, kFile, kEnvironment };
  Kind kind = Kind::kNone;
  std::string value;  // absolute path, or a variable's name
  std::string where;  // "FILE:LINE:COLUMN", for messages
};

struct RepositoryConfig {
  std::string name;
  std::string url;       // a directory (absolute), or s3://bucket/prefix
  S3Config s3;           // of a bucket
  std::string key_file;  // absolute; or empty, and there is a passphrase
  SecretSource passphrase;
  int compression = 3;
  std::string where;

  bool is_directory() const { return url.find("://") == std::string::npos; }
  // What tells it from others: buckets of two stores may have the same name.
  std::string place() const {
    return s3.options.endpoint.empty() ? url : url + " at " + s3.options.endpoint;
  }
};

struct ComponentConfig {
  std::string name;
  std::string type;  // "postgresql", …
  // The repositories that it belongs in, whatever a job says (Config::repositories_for); empty:
  // any.
  std::vector<std::string> repositories = {};
  std::string connection = {};  // postgresql
  double audit_share = 0.02;    // of unchanged pages, read again by each incremental; 0 to 1
  std::vector<std::string> dumps = {};  // databases that full backups dump too
  std::string root = {};                // files, secrets: absolute
  std::vector<std::string> include = {};
  std::vector<std::string> exclude = {};
  std::string after_restore = {};  // files: a shell command
  std::string where = {};
};

struct JobConfig {
  std::string name;
  std::string at;
  std::vector<std::string> backup;  // component names; empty for a verification or a drill
  std::string kind = "full";
  std::optional<base::Duration> keep;
  std::vector<std::string> repositories;  // names; empty: the default
};

struct Limits {
  int workers = 0;  // 0: one a core
  std::uint64_t rate_bytes = 0;
  bool low_priority = false;
};

struct WalConfig {
  std::optional<base::Duration> keep;  // none: as long as a backup can use it
  std::optional<int>
      compression;      // zstd level; the repository's, but at most 1, where it is not set
  int push_ahead = 0;   // following segments that a `wal push` archives along; 0: none
  int fetch_ahead = 8;  // following segments that are fetched while the server replays one
};

struct Config {
  std::filesystem::path file;  // absolute
  std::string stack;
  std::vector<RepositoryConfig> repositories;  // in the file's order; the first is the default
  std::vector<ComponentConfig> components;
  std::vector<JobConfig> jobs;
  WalConfig wal;
  Limits limits;
  std::filesystem::path scratch = "/var/tmp";  // for what is made and removed again
  std::vector<std::string> without_effect;     // accepted, but this version does not act on it yet

  const RepositoryConfig& repository(const std::string& name) const;  // empty: the default; kUsage
  const ComponentConfig& component(
      const std::string& name) const;  // kUsage, naming those there are
  // The same; "COMPONENT.DATABASE" stands for the dumps of that database, of type "dump".
  ComponentConfig component_or_dump(const std::string& name) const;
  const JobConfig& job(const std::string& name) const;  // the same

  // Where a run that goes to `wanted` (names; none: the default) backs this component up. One that
  // names repositories of its own goes to those of them that are wanted, to all where none is.
  std::vector<std::string> repositories_for(const ComponentConfig& component,
                                            const std::vector<std::string>& wanted) const;
};

// The first of: `given`, $HOLDFAST_CONFIG, ./holdfast.yaml, /etc/holdfast/holdfast.yaml. kConfig
// where there is none.
std::filesystem::path find_config(const std::string& given);
Config load_config(const std::filesystem::path& file);

}  // namespace holdfast::stack
