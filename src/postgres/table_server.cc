#include "postgres/table_server.h"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/file.h"
#include "base/piped_process.h"
#include "base/process.h"
#include "postgres/client_program.h"
#include "postgres/connection.h"
#include "postgres/restore.h"
#include "postgres/server.h"
#include "repository/file_content.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;
using base::ProcessOptions;
using base::ProcessResult;
using repository::Context;
using repository::FileEntry;

constexpr const char* kLoadedDatabase = "holdfast";
constexpr std::size_t kScriptHeadBytes = 4096;
constexpr std::size_t kMaxGlobalsBytes = 256 * 1024 * 1024;

// One may have come and gone since the backup, so this is known only now.
void require_database(const PrivateServer& server, const TableSource& source) {
  try {
    Connection(server.conninfo(source.database));
  } catch (const Error& error) {
    // The server's messages are in English.
    if (std::string_view(error.what()).find("\" does not exist") == std::string_view::npos) throw;
    throw Error(ErrorKind::kNotFound,
                fmt::format("there was no database {} at that moment", source.database),
                "--only names another");
  }
}

TableServer from_backup(const Context& context, const TableSource& source,
                        const ScratchDirectory& scratch, const TableServerOptions& options,
                        base::Progress& progress, const std::stop_token& stop) {
  const RestorePlan& plan = *source.plan;
  const fs::path data = scratch.path() / "data";
  RestoreRequest request{.to = data,
                         .tablespaces = {},
                         .restore_command = options.restore_command,
                         .delta = false,
                         .workers = options.workers,
                         .thaw = options.thaw,
                         .throwaway = true,
                         .databases = source.databases};
  for (const Tablespace& tablespace : plan.details.tablespaces) {
    request.tablespaces[tablespace.location] =
        (scratch.path() / "tablespaces" / std::to_string(tablespace.oid)).string();
  }
  restore_cluster(context, plan, request, progress, stop);
  if (const auto user = PrivateServer::user_for(data)) scratch.give_to(*user);
  TableServer result;
  result.server = std::make_unique<PrivateServer>(
      PrivateServerOptions{.directory = scratch.path(),
                           .data = data,
                           .major = source.major(),
                           .users = options.users,
                           .databases = {"template1", "postgres", source.database},
                           .segment_bytes = plan.details.wal_segment_size});
  progress.phase("replaying WAL", 0);
  result.server->wait_until_ready(progress, stop);
  result.database = source.database;
  require_database(*result.server, source);
  return result;
}

void give(const fs::path& path, uid_t user) {
  if (::lchown(path.c_str(), user, static_cast<gid_t>(-1)) != 0) {
    throw base::system_error(errno, fmt::format("cannot give {} its owner", path.string()));
  }
}

// As pg_dump writes it at the top of its scripts; empty where it is not there.
std::string encoding_in(std::string_view script) {
  constexpr std::string_view kSet = "SET client_encoding = '";
  const auto at = script.find(kSet);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = script.substr(at + kSet.size());
  return std::string(rest.substr(0, rest.find('\'')));
}

class DumpLoader {
 public:
  DumpLoader(const Context& context, const repository::BackupRecord& dump,
             const ScratchDirectory& scratch, int workers, base::Progress& progress,
             std::stop_token stop)
      : context_(context),
        dump_(dump),
        details_(dump_details_of(dump.summary)),
        scratch_(scratch),
        workers_(workers),
        progress_(progress),
        stop_(std::move(stop)),
        major_(details_.version_num / 10000),
        programs_(ClientPrograms::find(major_)) {}

  TableServer run() {
    write_files();
    make_cluster();
    TableServer result;
    result.database = kLoadedDatabase;
    result.server = std::make_unique<PrivateServer>(
        PrivateServerOptions{.directory = scratch_.path(), .data = data_, .major = major_});
    result.server->wait_until_ready(progress_, stop_);
    progress_.phase("loading the dump", 0);
    if (details_.globals) load_globals(*result.server);
    Connection(result.server->conninfo("template1"))
        .query(fmt::format("CREATE DATABASE {} TEMPLATE template0 ENCODING '{}' LOCALE '{}'",
                           kLoadedDatabase, encoding(), "C.UTF-8"));
    load(result.server->conninfo(kLoadedDatabase));
    return result;
  }

 private:
  void write_files() {
    const repository::Index index = repository::Index::load(context_);
    repository::ChunkReader reader(context_, index);
    repository::ChunkReader content_reader(context_, index);
    progress_.phase("fetching the dump", dump_.summary.bytes);
    repository::load_file_table(dump_.file_table, reader, [&](FileEntry&& entry) {
      base::throw_if_stopped(stop_);
      const fs::path path = files_ / entry.path;
      if (entry.type != repository::FileType::kFile) {
        fs::create_directories(path);
        return;
      }
      fs::create_directories(path.parent_path());
      const base::UniqueFd fd = base::open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
      repository::read_content(entry, content_reader, [&](base::ByteView bytes) {
        base::throw_if_stopped(stop_);
        base::write_all(fd.get(), bytes, path);
        progress_.advance(bytes.size());
      });
    });
  }

  // As root: for the user that PostgreSQL's packages make.
  void make_cluster() {
    fs::create_directory(data_);
    const auto programs = server_programs(major_);
    if (!programs) {
      throw Error(
          ErrorKind::kFailed,
          fmt::format("the server programs of PostgreSQL {} are not on this machine", major_),
          fmt::format("install PostgreSQL {}: the dump is of that version", major_));
    }
    ProcessOptions initdb;
    initdb.argv = {(*programs / "initdb").string(),
                   "-D",
                   data_.string(),
                   "-U",
                   "postgres",
                   "-A",
                   "trust",
                   "-E",
                   "UTF8",
                   "--locale=C.UTF-8",
                   "--no-sync"};
    initdb.timeout = std::chrono::minutes(5);
    if (::geteuid() == 0) {
      const passwd* user = ::getpwnam("postgres");
      if (user == nullptr) {
        throw Error(ErrorKind::kRefused,
                    "PostgreSQL does not run as root, and there is no user "
                    "postgres",
                    "run holdfast as another user");
      }
      initdb.uid = user->pw_uid;
      scratch_.give_to(user->pw_uid);
      give(data_, user->pw_uid);
    }
    const ProcessResult result = base::run_process(initdb, stop_);
    if (result.exit_status != 0) {
      throw Error(ErrorKind::kFailed, fmt::format("initdb failed: {}", last_words(result.err)));
    }
  }

  // What is there already (the superuser), or is not to be had here, is no matter: a role that is
  // missing in the end shows when the dump is loaded.
  void load_globals(const PrivateServer& server) {
    const fs::path path = files_ / kGlobalsFile;
    std::vector<fs::path> directories;
    const std::string script = with_tablespaces_in(base::read_text_file(path, kMaxGlobalsBytes),
                                                   scratch_.path() / "tablespaces", directories);
    const auto user = PrivateServer::user_for(data_);
    for (const fs::path& directory : directories) {
      fs::create_directories(directory);
      if (user) give(directory, *user);
    }
    const fs::path own = files_ / "globals-placed.sql";
    base::write_all(base::open_file(own, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW).get(),
                    base::as_bytes(script), own);
    run("psql", server.conninfo("postgres"), {"-X", "-q", "-f", own.string()});
  }

  // UTF8 takes all that the others hold, but for what is in no encoding.
  std::string encoding() const {
    const fs::path path = files_ / details_.path;
    std::string script;
    if (details_.format == DumpFormat::kPlain) {
      base::Bytes head(kScriptHeadBytes);
      head.resize(base::read_at(base::open_file(path, O_RDONLY | O_NOFOLLOW).get(), 0, head, path));
      script = base::as_text(head);
    } else {
      // What stands at the top, and no table: nothing is in such a schema.
      ProcessOptions options = programs_.command(
          "pg_restore", {"--schema-only", "-n", "holdfast", "-f", "-", path.string()});
      script = base::run_process(options, stop_).out;
    }
    return encoding_in(script) == "SQL_ASCII" ? "SQL_ASCII" : "UTF8";
  }

  void load(const std::string& conninfo) {
    const std::string path = (files_ / details_.path).string();
    const bool is_plain = details_.format == DumpFormat::kPlain;
    ProcessResult result;
    if (is_plain) {
      result = run("psql", conninfo,
                   {"-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse", "-f", path});
    } else {
      std::vector<std::string> arguments = {fmt::format("--jobs={}", workers_)};
      if (!details_.globals) {
        arguments.insert(arguments.end(), {"--no-owner", "--no-privileges", "--no-tablespaces"});
      }
      arguments.push_back(path);
      result = run("pg_restore", conninfo, std::move(arguments));
    }
    if (result.exit_status == 0) return;
    throw Error(ErrorKind::kFailed,
                fmt::format("{} could not be loaded into a private server: {}", dump_.summary.id,
                            failure_of(is_plain ? "psql" : "pg_restore", result)),
                "extensions that the database uses must be installed on this machine");
  }

  ProcessResult run(const std::string& program, const std::string& conninfo,
                    std::vector<std::string> arguments) const {
    base::PipedProcess process(
        programs_.command(program, client_connection(conninfo), std::move(arguments)), {});
    return process.wait(stop_);
  }

  const Context& context_;
  const repository::BackupRecord& dump_;
  const DumpDetails details_;
  const ScratchDirectory& scratch_;
  const int workers_;
  base::Progress& progress_;
  std::stop_token stop_;
  const int major_;
  const ClientPrograms programs_;
  const fs::path data_ = scratch_.path() / "data";
  const fs::path files_ = scratch_.path() / "dump";
};

}  // namespace

// pg_dumpall writes each CREATE TABLESPACE on a line of its own.
std::string with_tablespaces_in(const std::string& script, const fs::path& place,
                                std::vector<fs::path>& directories) {
  constexpr std::string_view kCreate = "CREATE TABLESPACE ";
  constexpr std::string_view kLocation = " LOCATION '";
  std::string out;
  for (std::size_t at = 0; at < script.size();) {
    const std::size_t end = std::min(script.find('\n', at), script.size() - 1) + 1;
    const std::string line = script.substr(at, end - at);
    const std::size_t location = line.rfind(kLocation);
    if (line.starts_with(kCreate) && location != std::string::npos) {
      directories.push_back(place / std::to_string(directories.size() + 1));
      out += line.substr(0, location + kLocation.size()) + directories.back().string() + "';\n";
    } else {
      out += line;
    }
    at = end;
  }
  return out;
}

TableServer start_table_server(const Context& context, const TableSource& source,
                               const ScratchDirectory& scratch, const TableServerOptions& options,
                               base::Progress& progress, const std::stop_token& stop) {
  if (source.plan) return from_backup(context, source, scratch, options, progress, stop);
  return DumpLoader(context, *source.dump, scratch, options.workers, progress, stop).run();
}

}  // namespace holdfast::postgres
