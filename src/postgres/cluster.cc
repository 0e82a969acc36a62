#include "postgres/cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace holdfast::postgres {
namespace {

using base::Error;
using base::ErrorKind;

template <typename T>
T number(const std::string& text, std::string_view what) {
  T value{};
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || end != text.data() + text.size()) {
    throw Error(ErrorKind::kFailed, fmt::format("PostgreSQL gave \"{}\" for {}", text, what));
  }
  return value;
}

// "" where the setting does not exist in this version.
std::string setting(Connection& connection, const std::string& name) {
  const std::vector<Row> rows =
      connection.query("SELECT coalesce(current_setting($1, true), '')", {name});
  return rows.at(0).at(0).value_or("");
}

void require_supported(const ClusterInfo& info) {
  if (info.major() < kOldestMajor) {
    throw Error(ErrorKind::kRefused, fmt::format("PostgreSQL {} is too old: {} to {} are supported",
                                                 info.version, kOldestMajor, kNewestMajor));
  }
}

std::string version_text(int version_num) {
  return fmt::format("{}.{}", version_num / 10000, version_num % 10000);
}

void read_control_data(Connection& connection, ClusterInfo& info) {
  info.system_id = number<std::uint64_t>(
      connection.value("SELECT system_identifier FROM pg_control_system()"), "system_identifier");
  const std::vector<Row> rows = connection.query(
      "SELECT database_block_size, blocks_per_segment, bytes_per_wal_segment, "
      "data_page_checksum_version FROM pg_control_init()");
  const Row& row = rows.at(0);
  info.block_size = number<std::uint32_t>(row[0].value_or(""), "database_block_size");
  info.segment_blocks = number<std::uint32_t>(row[1].value_or(""), "blocks_per_segment");
  info.wal_segment_size = number<std::uint32_t>(row[2].value_or(""), "bytes_per_wal_segment");
  info.checksums = row[3].value_or("0") != "0";
  info.timeline = number<std::uint32_t>(
      connection.value("SELECT timeline_id FROM pg_control_checkpoint()"), "timeline_id");
}

void read_settings(Connection& connection, ClusterInfo& info) {
  info.data_directory = setting(connection, "data_directory");
  info.config_file = setting(connection, "config_file");
  info.hba_file = setting(connection, "hba_file");
  info.ident_file = setting(connection, "ident_file");
  info.wal_level = setting(connection, "wal_level");
  info.archive_mode = setting(connection, "archive_mode");
  info.archive_command = setting(connection, "archive_command");
  info.archive_library = setting(connection, "archive_library");
  if (info.data_directory.empty()) {
    throw Error(ErrorKind::kPermission,
                "PostgreSQL does not tell this user where its data directory is",
                "connect as a superuser, or GRANT pg_read_all_settings to the user");
  }
}

}  // namespace

ClusterInfo describe_cluster(Connection& connection) {
  ClusterInfo info;
  info.version_num = connection.server_version_num();
  info.version = version_text(info.version_num);
  require_supported(info);
  info.in_recovery = connection.value("SELECT pg_is_in_recovery()") == "t";
  read_control_data(connection, info);
  read_settings(connection, info);
  for (const Row& row :
       connection.query("SELECT oid, spcname, pg_tablespace_location(oid) FROM pg_tablespace "
                        "WHERE pg_tablespace_location(oid) <> '' ORDER BY oid")) {
    info.tablespaces.push_back({number<std::uint32_t>(row[0].value_or(""), "a tablespace's oid"),
                                row[1].value_or(""), row[2].value_or("")});
  }
  for (const Row& row : connection.query("SELECT oid, datname FROM pg_database ORDER BY oid")) {
    info.databases.emplace_back(number<std::uint32_t>(row[0].value_or(""), "a database's oid"),
                                row[1].value_or(""));
  }
  return info;
}

}  // namespace holdfast::postgres
