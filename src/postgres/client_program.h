// pg_dump, psql and their like, run as programs of their own. Their arguments are there for every
// user of the machine to read: no password stands in them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/process.h"
#include "postgres/conninfo.h"

namespace holdfast::postgres {

// How a client program connects.
struct ClientConnection {
  std::string conninfo;                       // for its -d: all that is no secret
  std::vector<std::string> environment = {};  // the password
};

// `conninfo` as libpq takes it; `database`, where it is not empty, goes before the one in there.
// kConfig where it cannot be read (conninfo.h), or holds a secret that only arguments could carry.
ClientConnection client_connection(const std::string& conninfo, const std::string& database = {});

class ClientPrograms {
 public:
  // Those for a server of this major version: of the same one where they are installed, else the
  // newest that are not older. kFailed, saying what to install, where there are none.
  static ClientPrograms find(int server_major);
  explicit ClientPrograms(std::filesystem::path directory) : directory_(std::move(directory)) {}

  std::string path(const std::string& name) const { return (directory_ / name).string(); }
  std::string version(const std::string& name) const;  // "15.18 (Debian 15.18-1)"

  // NAME, to be run as a child that never asks for a password and ends with us (the thread that
  // starts it outlives it). The first one without a connection.
  base::ProcessOptions command(const std::string& name, std::vector<std::string> arguments) const;
  base::ProcessOptions command(const std::string& name, const ClientConnection& connection,
                               std::vector<std::string> arguments) const;

 private:
  std::filesystem::path directory_;
};

// "pg_dump failed (exit status 1): WORDS" or "pg_dump was killed by signal 9": of a
// program (a name or a path) that did not end with 0.
std::string failure_of(const std::filesystem::path& program, const base::ProcessResult& result);

// The last lines of what a program wrote to standard error, on one line.
std::string last_words(const std::string& err);

}  // namespace holdfast::postgres
