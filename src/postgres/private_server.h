// A server of our own, for a directory that is thrown away afterwards: nobody else reaches it, it
// archives nothing, and it ends with this process however that ends.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/child.h"
#include "base/progress.h"

namespace holdfast::postgres {

struct PrivateServerOptions {
  // For its socket, configuration and log; its owner alone gets in there.
  std::filesystem::path directory;
  std::filesystem::path data;
  int major = 0;
  // Roles that may exist there, to ask who is a superuser.
  std::vector<std::string> users = {"postgres"};
  std::uint64_t segment_bytes = 0;  // of WAL, to tell how much was replayed
};

class PrivateServer {
 public:
  // Starts it, as the owner of `data`. kRefused where that would be root. The thread that does so
  // outlives it.
  explicit PrivateServer(PrivateServerOptions options);
  ~PrivateServer();  // stops it at once and waits for its end

  // Until it has recovered, where it has to, and can be written to. kFailed with its own words
  // where it ends.
  void wait_until_ready(base::Progress& progress, const std::stop_token& stop);

  // For a superuser; after wait_until_ready.
  std::string conninfo(const std::string& database) const;

  // Where the socket's path would be too long, kUsage with what to do.
  static void require_short_enough(const std::filesystem::path& directory);
  // As whom a server on this directory runs; nullopt: as us. kRefused for root.
  static std::optional<uid_t> user_for(const std::filesystem::path& data);

 private:
  void configure() const;
  void start();
  bool has_ended() const;
  bool answers();
  void tell_progress(base::Progress& progress);
  std::string last_log_lines() const;

  PrivateServerOptions options_;
  std::filesystem::path log_;
  std::unique_ptr<base::Child> child_;
  std::string superuser_;
  std::uint64_t log_read_ = 0;  // bytes of it
};

}  // namespace holdfast::postgres
