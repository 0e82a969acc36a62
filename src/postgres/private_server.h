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
#include "base/file.h"
#include "base/progress.h"

namespace holdfast::postgres {

struct PrivateServerOptions {
  // For its socket, configuration and log; its owner alone gets in there.
  std::filesystem::path directory;
  std::filesystem::path data;
  int major = 0;
  // Roles that may exist there, to ask who is a superuser, and databases to ask in.
  std::vector<std::string> users = {"postgres"};
  std::vector<std::string> databases = {"template1", "postgres"};
  std::uint64_t segment_bytes = 0;  // of WAL, to tell how much was replayed
};

class PrivateServer {
 public:
  // Starts it, as the owner of `data`. kRefused where that would be root. The thread that does so
  // outlives it.
  explicit PrivateServer(PrivateServerOptions options);
  ~PrivateServer();  // stops it at once and waits for its end

  // Until it has recovered, where it has to, and can be written to; it is then certain that
  // conninfo() leads to it and to no other. kFailed with its own words where it ends, or lets
  // nobody in.
  void wait_until_ready(base::Progress& progress, const std::stop_token& stop);

  // For a superuser; after wait_until_ready. While it is used there is none of libpq's environment
  // (client_environment.h).
  std::string conninfo(const std::string& database) const;

  // Where the socket's path would be too long, kUsage with what to do.
  static void require_short_enough(const std::filesystem::path& directory);
  // As whom a server on this directory runs; nullopt: as us. kRefused for root.
  static std::optional<uid_t> user_for(const std::filesystem::path& data);

 private:
  void configure();
  void start();
  bool has_ended() const;
  bool accepts_connections() const;
  std::string conninfo_for(const std::string& user, const std::string& database) const;
  enum class Answer { kNotYet, kNo, kYes };
  Answer answer();
  Answer ask(const std::string& user, const std::string& database);
  void make_superuser(const std::stop_token& stop);
  base::ProcessOptions program() const;
  std::vector<std::string> arguments() const;
  [[noreturn]] void throw_end();
  void tell_progress(base::Progress& progress);
  std::string last_log_lines() const;

  PrivateServerOptions options_;
  std::filesystem::path log_;
  base::UniqueFd log_fd_;
  std::unique_ptr<base::Child> child_;
  std::string superuser_;
  std::string refusals_;        // why it let nobody in, at the last attempt
  std::uint64_t log_read_ = 0;  // bytes of it
};

}  // namespace holdfast::postgres
