// A connection to a PostgreSQL server through libpq.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace holdfast::postgres {

using Row = std::vector<std::optional<std::string>>;

// Not thread-safe. Every failure is an Error whose text never holds the connection string's
// password.
class Connection {
 public:
  // `conninfo` as libpq takes it. Sets application_name to holdfast and the session to UTC, without
  // timeouts of the user's own. kConfig if it cannot be read (conninfo.h), kUnavailable if the
  // server cannot be reached.
  // `database`, where it is not empty, goes before the one of conninfo.
  explicit Connection(const std::string& conninfo, const std::string& database = {});
  ~Connection();
  Connection(Connection&&) noexcept;

  // From here on a query that is under way is cancelled, with kInterrupted, when `stop` fires.
  void obey(std::stop_token stop);

  // $1, $2, … stand for the parameters.
  std::vector<Row> query(const std::string& sql, const std::vector<std::string>& parameters = {});
  // The first column of the only row; kFailed unless there is exactly one and it is not null.
  std::string value(const std::string& sql, const std::vector<std::string>& parameters = {});

  int server_version_num() const;  // 150018
  bool is_local() const;           // over a Unix-domain socket or the loopback interface

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::postgres
