#include "postgres/connection.h"

#include <fmt/format.h>
#include <poll.h>

#include "base/error.h"
#include "postgres/conninfo.h"
#include "postgres/libpq.h"

namespace holdfast::postgres {
namespace {

using base::Error;
using base::ErrorKind;

struct FinishConnection {
  void operator()(PGconn* connection) const { libpq().finish(connection); }
};
struct ClearResult {
  void operator()(PGresult* result) const { libpq().clear(result); }
};
using ResultPtr = std::unique_ptr<PGresult, ClearResult>;

std::string trimmed(const char* text) {
  std::string out = text == nullptr ? "" : text;
  while (!out.empty() && (out.back() == '\n' || out.back() == ' ')) out.pop_back();
  return out;
}

// Session settings that the user's own defaults must not spoil: a backup's session stays open and
// idle for hours.
constexpr const char* kSessionOptions =
    "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 "
    "-c timezone=UTC -c datestyle=ISO -c client_min_messages=warning";

PGconn* connect(const std::string& conninfo, const std::string& database) {
  // The first dbname is expanded to all that conninfo says; what follows goes before it, and an
  // empty value counts as not given.
  const char* keywords[] = {"dbname", "application_name", "options", "dbname", nullptr};
  const char* values[] = {conninfo.c_str(), "holdfast", kSessionOptions, database.c_str(), nullptr};
  return libpq().connectdbParams(keywords, values, /*expand_dbname=*/1);
}

void cancel(PGconn* connection) {
  PGcancel* handle = libpq().getCancel(connection);
  if (handle == nullptr) return;
  char problem[256];
  libpq().cancel(handle, problem,
                 sizeof problem);  // the answer is of no use: the query ends or it does not
  libpq().freeCancel(handle);
}

// Waits for the result of the query that was sent, looking for a stop five times a second.
ResultPtr wait_for_result(PGconn* connection, const std::stop_token& stop) {
  while (libpq().isBusy(connection) != 0) {
    if (stop.stop_requested()) {
      cancel(connection);
      throw Error(ErrorKind::kInterrupted, "interrupted while PostgreSQL was at work");
    }
    pollfd socket{libpq().socket(connection), POLLIN, 0};
    ::poll(&socket, 1, 200);
    if (libpq().consumeInput(connection) == 0) break;  // PQgetResult then tells why
  }
  ResultPtr result(libpq().getResult(connection));
  while (PGresult* more = libpq().getResult(connection)) libpq().clear(more);
  return result;
}

}  // namespace

struct Connection::Impl {
  std::unique_ptr<PGconn, FinishConnection> connection;
  std::stop_token stop;
};

Connection::Connection(const std::string& conninfo, const std::string& database)
    : impl_(std::make_unique<Impl>()) {
  read_conninfo(conninfo);  // what libpq says of one that it cannot read shows it
  impl_->connection.reset(connect(conninfo, database));
  if (libpq().status(impl_->connection.get()) != CONNECTION_OK) {
    throw Error(ErrorKind::kUnavailable,
                fmt::format("cannot connect to PostgreSQL: {}",
                            trimmed(libpq().errorMessage(impl_->connection.get()))),
                "see that the server runs, and that the component's `connection` names its host "
                "(or socket directory), port and a user who may connect");
  }
  // Text is UTF8 here, but for what is in no encoding.
  query(
      "SELECT pg_catalog.set_config('client_encoding', CASE"
      " pg_catalog.current_setting('server_encoding') WHEN 'SQL_ASCII' THEN 'SQL_ASCII'"
      " ELSE 'UTF8' END, false)");
  // Older servers would refuse it among the options.
  if (server_version_num() >= 140000) query("SET idle_session_timeout = 0");
}

Connection::~Connection() = default;
Connection::Connection(Connection&&) noexcept = default;

void Connection::obey(std::stop_token stop) { impl_->stop = std::move(stop); }

std::vector<Row> Connection::query(const std::string& sql,
                                   const std::vector<std::string>& parameters) {
  std::vector<const char*> values;
  values.reserve(parameters.size());
  for (const std::string& parameter : parameters) values.push_back(parameter.c_str());
  PGconn* connection = impl_->connection.get();
  libpq().sendQueryParams(connection, sql.c_str(), static_cast<int>(values.size()), nullptr,
                          values.data(), nullptr, nullptr, 0);
  const ResultPtr result = wait_for_result(connection, impl_->stop);
  const ExecStatusType status = libpq().resultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    const bool lost = libpq().status(connection) != CONNECTION_OK;
    throw Error(
        lost ? ErrorKind::kUnavailable : ErrorKind::kFailed,
        fmt::format("{}: {}", lost ? "the connection to PostgreSQL was lost" : "PostgreSQL refused",
                    trimmed(libpq().errorMessage(connection))));
  }
  std::vector<Row> rows(static_cast<std::size_t>(libpq().ntuples(result.get())));
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (int c = 0; c < libpq().nfields(result.get()); ++c) {
      const int row = static_cast<int>(r);
      if (libpq().getisnull(result.get(), row, c) != 0) {
        rows[r].emplace_back(std::nullopt);
      } else {
        rows[r].emplace_back(
            std::string(libpq().getvalue(result.get(), row, c),
                        static_cast<std::size_t>(libpq().getlength(result.get(), row, c))));
      }
    }
  }
  return rows;
}

std::string Connection::value(const std::string& sql, const std::vector<std::string>& parameters) {
  const std::vector<Row> rows = query(sql, parameters);
  if (rows.size() != 1 || rows[0].empty() || !rows[0][0]) {
    throw Error(ErrorKind::kFailed, fmt::format("PostgreSQL gave no single value for \"{}\"", sql));
  }
  return *rows[0][0];
}

int Connection::server_version_num() const {
  return libpq().serverVersion(impl_->connection.get());
}

bool Connection::is_local() const {
  const char* host = libpq().host(impl_->connection.get());
  if (host == nullptr || host[0] == '/' || host[0] == '@' || host[0] == '\0') return true;
  const std::string name = host;
  return name == "localhost" || name == "::1" || name.starts_with("127.");
}

}  // namespace holdfast::postgres
