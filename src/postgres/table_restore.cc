#include "postgres/table_restore.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "postgres/client_program.h"
#include "postgres/scratch_directory.h"
#include "postgres/table_copy.h"
#include "postgres/table_server.h"
#include "postgres/table_source.h"

namespace holdfast::postgres {
namespace {

using base::Error;
using base::ErrorKind;

std::vector<TableName> names_of(const TableRestoreRequest& request) {
  if (request.rename_suffix && request.replace) {
    throw Error(ErrorKind::kUsage, "--rename and --replace cannot be combined");
  }
  if (request.rename_suffix && request.rename_suffix->empty()) {
    throw Error(ErrorKind::kUsage, "--rename wants a suffix, for example _old");
  }
  std::vector<TableName> names;
  for (const std::string& text : request.tables) {
    names.push_back(parse_table_name(text));
    const std::string& suffix = request.rename_suffix.value_or("");
    if (names.back().table.size() + suffix.size() > kLongestName) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{} with {} is longer than the {} bytes that a name may have",
                              shown_name(names.back()), suffix, kLongestName),
                  "a shorter suffix");
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

// Who may be known in the backed up cluster: some role must be named to ask it for the others.
std::vector<std::string> likely_users(const TableRestoreRequest& request) {
  std::vector<std::string> users;
  for (const std::string& conninfo : {request.connection, request.into}) {
    if (const auto user = user_of(conninfo)) users.push_back(*user);
  }
  if (const passwd* entry = ::getpwuid(::geteuid())) users.emplace_back(entry->pw_name);
  users.emplace_back("postgres");
  return users;
}

void require_room_in_target(TableTarget& target, const std::vector<TableName>& names,
                            bool replace) {
  if (replace) {
    target.require_replaceable(names);
  } else {
    target.require_free(names);
  }
}

std::vector<TableName> with_suffixes(std::vector<TableName> names,
                                     const std::optional<std::string>& suffix) {
  for (TableName& name : names) name.table += suffix.value_or("");
  return names;
}

std::optional<base::Time> last_transaction(const std::string& conninfo) {
  const std::vector<Row> rows = Connection(conninfo).query(
      "SELECT to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC',"
      " 'YYYY-MM-DD HH24:MI:SS.US')");
  if (rows.empty() || !rows[0][0]) return std::nullopt;
  return base::parse_time(*rows[0][0], {});
}

class TableRestore {
 public:
  TableRestore(const repository::Context& context, const TableRestoreRequest& request,
               base::Progress& progress, const std::stop_token& stop)
      : context_(context),
        request_(request),
        progress_(progress),
        stop_(stop),
        names_(names_of(request)),
        target_(request.into, stop) {}

  TableRestoreResult run() {
    require_room_in_target(target_, with_suffixes(names_, request_.rename_suffix),
                           request_.replace);
    source_ = find_table_source(context_, {.component = request_.component,
                                           .database = request_.database,
                                           .target_database = target_.database(),
                                           .backup = request_.backup,
                                           .at = request_.at});
    result_.backup = source_.backup().id;
    result_.from_dump = source_.dump.has_value();
    if (source_.plan) tell_all(source_.plan->notes);
    start_server();
    const std::string conninfo = server_.server->conninfo(server_.database);
    result_.reached = last_transaction(conninfo);
    copy(conninfo);
    return std::move(result_);
  }

 private:
  void start_server() {
    try {
      start_server_once();
    } catch (const Error& error) {
      // Replay onto holes fails where the WAL lacks images of pages: full_page_writes may have been
      // switched off since the backup.
      const bool gave_up = std::string_view(error.what()).find("PANIC:") != std::string_view::npos;
      if (!gave_up || !source_.databases) throw;
      source_.databases.reset();
      tell("the WAL does not replay onto a part of the cluster: all of it is restored");
      start_server_once();
    }
  }

  void start_server_once() {
    server_ = {};
    scratch_.reset();
    scratch_.emplace(request_.scratch, "holdfast-tables-");
    PrivateServer::require_short_enough(scratch_->path());
    tell(require_space(needs_of(context_, source_), request_.scratch));
    server_ = start_table_server(context_, source_, *scratch_,
                                 {.users = likely_users(request_),
                                  .restore_command = request_.restore_command,
                                  .workers = request_.workers,
                                  .thaw = request_.thaw},
                                 progress_, stop_);
  }

  void copy(const std::string& conninfo) {
    const std::string mark = scratch_->path().filename().string();
    TableSet tables(conninfo,
                    {.suffix = request_.rename_suffix,
                     .staging = request_.replace ? std::optional(mark) : std::nullopt},
                    stop_);
    base::with_context("in the database " + source_.database,
                       [&] { tables.find(names_, result_.from_dump); });
    require_room_in_target(target_, tables.target_names(), request_.replace);
    tables.fit(target_);
    tables.count_rows();
    tables.rename();
    std::vector<std::string> publications;
    if (request_.replace) publications = target_.publications_of(tables.target_names());
    copy_tables(tables, target_,
                {.source = conninfo,
                 .source_major = source_.major(),
                 .into = request_.into,
                 .replace = request_.replace},
                progress_, stop_);

    tell_all(tables.notes());
    for (const std::string& publication : publications) {
      tell(
          fmt::format("the publication {} no longer has what was replaced: add it again (ALTER "
                      "PUBLICATION … ADD TABLE)",
                      publication));
    }
    for (const TakenTable& table : tables.tables()) {
      if (table.asked_for) result_.tables.push_back(table);
    }
  }

  void tell(const std::string& note) {
    progress_.note(note);
    result_.notes.push_back(note);
  }
  void tell_all(const std::vector<std::string>& notes) {
    for (const std::string& note : notes) tell(note);
  }

  const repository::Context& context_;
  const TableRestoreRequest& request_;
  base::Progress& progress_;
  const std::stop_token& stop_;
  const std::vector<TableName> names_;
  TableTarget target_;
  TableSource source_;
  TableRestoreResult result_;
  std::optional<ScratchDirectory> scratch_;
  TableServer server_;  // ends before its directory does
};

}  // namespace

TableRestoreResult restore_tables(const repository::Context& context,
                                  const TableRestoreRequest& request, base::Progress& progress,
                                  const std::stop_token& stop) {
  return TableRestore(context, request, progress, stop).run();
}

}  // namespace holdfast::postgres
