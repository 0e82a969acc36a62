// A throwaway PostgreSQL cluster in a directory of its own, as judge of what we say about its
// files. It listens on a socket in that directory and nowhere else. As root everything runs as the
// user postgres, since PostgreSQL refuses root.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/process.h"

namespace holdfast::postgres {

class TemporaryServer {
 public:
  // Empty where the tests can run, else why they cannot.
  static std::string why_unavailable();

  // Runs initdb. Throws where something fails, as all methods do.
  explicit TemporaryServer(std::vector<std::string> initdb_options = {});
  ~TemporaryServer();
  TemporaryServer(const TemporaryServer&) = delete;
  TemporaryServer& operator=(const TemporaryServer&) = delete;

  const std::filesystem::path& directory() const { return directory_; }
  std::filesystem::path data() const { return directory_ / "data"; }
  std::filesystem::path wal() const { return data() / "pg_wal"; }

  void start(const std::string& settings = {});  // lines for postgresql.auto.conf
  void stop();
  std::string sql(const std::string& statements);  // its output, unaligned, without headers

  // One of the server's programs, or else one from PATH, as its user. The output; throws if it
  // fails.
  std::string run(const std::string& program, const std::vector<std::string>& arguments);
  base::ProcessResult try_run(const std::string& program,
                              const std::vector<std::string>& arguments);

 private:
  std::filesystem::path directory_;
  bool running_ = false;
};

}  // namespace holdfast::postgres

// In a test that needs the server.
#define HOLDFAST_NEED_SERVER()                                                          \
  if (const std::string why = ::holdfast::postgres::TemporaryServer::why_unavailable(); \
      !why.empty()) {                                                                   \
    GTEST_SKIP() << "*** SKIPPED: " << why << " ***";                                   \
  }
