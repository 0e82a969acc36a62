#include "postgres/backup_session.h"

#include <fmt/format.h>

#include "base/error.h"
#include "postgres/backup_label.h"

namespace holdfast::postgres {
namespace {

constexpr int kRenamedIn =
    150000;  // PostgreSQL 15 renamed the functions and dropped exclusive backups

Lsn lsn_from(const std::string& text) {
  const std::optional<Lsn> lsn = parse_lsn(text);
  if (!lsn) {
    throw base::Error(base::ErrorKind::kFailed,
                      fmt::format("PostgreSQL gave \"{}\" for a WAL position", text));
  }
  return *lsn;
}

}  // namespace

void hold_wal(Connection& connection) {
  connection.query(
      "SELECT pg_create_physical_replication_slot('holdfast_' || pg_backend_pid(), true, true)");
}

BackupStart start_backup(Connection& connection, const std::string& label) {
  const char* sql = connection.server_version_num() >= kRenamedIn
                        ? "SELECT pg_backup_start($1, true)"
                        : "SELECT pg_start_backup($1, true, false)";
  BackupStart start;
  start.lsn = lsn_from(connection.value(sql, {label}));
  start.timeline = static_cast<std::uint32_t>(
      std::stoul(connection.value("SELECT timeline_id FROM pg_control_checkpoint()")));
  return start;
}

BackupStop stop_backup(Connection& connection) {
  const char* sql = connection.server_version_num() >= kRenamedIn
                        ? "SELECT lsn, labelfile, extract(epoch FROM clock_timestamp()) * 1000000 "
                          "FROM pg_backup_stop(false)"
                        : "SELECT lsn, labelfile, extract(epoch FROM clock_timestamp()) * 1000000 "
                          "FROM pg_stop_backup(false, false)";
  const std::vector<Row> rows = connection.query(sql);
  const Row& row = rows.at(0);
  BackupStop stop;
  stop.lsn = lsn_from(row[0].value_or(""));
  stop.backup_label = row[1].value_or("");
  stop.time = base::Time(std::chrono::microseconds(std::stoll(row[2].value_or("0"))));
  return stop;
}

}  // namespace holdfast::postgres
