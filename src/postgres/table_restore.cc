#include "postgres/table_restore.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <exception>

#include "base/error.h"
#include "postgres/client_environment.h"
#include "postgres/conninfo.h"
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

std::vector<TableName> with_suffixes(std::vector<TableName> names,
                                     const std::optional<std::string>& suffix) {
  for (TableName& name : names) name.table += suffix.value_or("");
  return names;
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
    const std::vector<TableName> targets = with_suffixes(names_, request_.rename_suffix);
    if (request_.replace) {
      target_.require_schemas_can_be_made();
      target_.require_replaceable(targets);
    } else {
      target_.require_free(targets);
    }
    result_.database = target_.database();
    find_source(request_.database, /*with_dumps=*/true);
    start_server();
    const std::string conninfo = server_.server->conninfo(server_.database);
    if (source_.plan) note_reached(conninfo);
    copy(conninfo);
    return std::move(result_);
  }

 private:
  void find_source(const std::optional<std::string>& database, bool with_dumps) {
    source_ = find_table_source(context_, {.component = request_.component,
                                           .database = database,
                                           .target_database = target_.database(),
                                           .backup = request_.backup,
                                           .at = request_.at,
                                           .with_dumps = with_dumps});
    result_.backup = source_.backup().id;
    result_.from_dump = source_.dump.has_value();
    if (source_.plan) tell_all(source_.plan->notes);
  }

  void start_server() {
    try {
      start_server_once();
    } catch (const Error& error) {
      if (source_.dump) {
        use_backup_instead(error);
        return start_server();
      }
      // Replay onto holes fails where the WAL lacks images of pages: full_page_writes may have been
      // switched off since the backup.
      const bool gave_up = std::string_view(error.what()).find("PANIC:") != std::string_view::npos;
      if (!gave_up || !source_.databases) throw;
      source_.databases.reset();
      tell("the WAL does not replay onto a part of the cluster: all of it is restored");
      start_server_once();
    }
  }

  // Of a dump that nobody asked for: it may need what this machine lacks. The error that is being
  // handled goes on where there is no way round.
  void use_backup_instead(const Error& error) {
    const bool is_its_own =
        error.kind() == ErrorKind::kFailed || error.kind() == ErrorKind::kRefused;
    if (request_.backup || !is_its_own) throw;
    const std::string dump = source_.dump->summary.id;
    const std::exception_ptr of_dump = std::current_exception();
    try {
      find_source(std::string(source_.database), /*with_dumps=*/false);
    } catch (const Error&) {
      std::rethrow_exception(of_dump);  // there is none
    }
    tell(fmt::format("{} is taken instead of the dump {}: {}", result_.backup, dump, error.what()));
  }

  void note_reached(const std::string& conninfo) {
    const std::vector<Row> rows = Connection(conninfo).query(
        "SELECT pg_last_wal_replay_lsn(), to_char(pg_last_xact_replay_timestamp()"
        " AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')");
    result_.reached_lsn = rows.at(0).at(0).value_or("");
    if (rows[0].at(1)) result_.reached = base::parse_time(*rows[0][1], {});
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
    if (request_.replace) {
      target_.require_replaceable(tables.asked_for(), tables.target_names());
    } else {
      target_.require_free(tables.target_names());
    }
    tables.fit(target_);
    tables.count_rows();
    tables.rename();
    if (request_.replace) find_losses(tables);
    copy_tables(tables, target_,
                {.source = conninfo,
                 .source_major = source_.major(),
                 .into = request_.into,
                 .environment = environment_.taken(),
                 .replace = request_.replace},
                progress_, stop_);
    tell_all(tables.notes());
    for (const std::string& warning : tables.warnings()) warn(warning);
    for (const std::string& warning : losses_) warn(warning);
    for (const TakenTable& table : tables.tables()) {
      if (table.asked_for) result_.tables.push_back(table);
    }
  }

  // What others have in the target and goes with what is replaced.
  void find_losses(const TableSet& tables) {
    for (const std::string& publication : target_.publications_of(tables.target_names())) {
      losses_.push_back(
          fmt::format("the publication {} no longer has what was replaced: add it again (ALTER "
                      "PUBLICATION … ADD TABLE)",
                      publication));
    }
    for (const ForeignKey& key : target_.foreign_keys_to(tables.target_names())) {
      if (!key.is_disabled) continue;
      losses_.push_back(
          fmt::format("the foreign key {} of {} is checked again: its triggers were disabled",
                      key.name, key.table));
    }
  }

  void warn(const std::string& warning) {
    progress_.warning(warning);
    result_.warnings.push_back(warning);
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
  // The variables are for the target, to which we are connected.
  const WithoutClientEnvironment environment_{};
  TableSource source_;
  TableRestoreResult result_;
  std::vector<std::string> losses_;
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
