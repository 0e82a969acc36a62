#include "postgres/dump.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/file.h"
#include "postgres/client_program.h"
#include "postgres/connection.h"
#include "postgres/directory_dump.h"
#include "postgres/dump_stream.h"
#include "postgres/previous_dump.h"
#include "postgres/scratch_directory.h"
#include "repository/backup_run.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;
using repository::BackupSummary;
using repository::Context;
using repository::FileEntry;
using Writer = repository::ChunkStore::Writer;

constexpr std::size_t kReadSize = 1024 * 1024;

void check_request(const DumpRequest& request) {
  if (request.database.empty() ||
      std::find(request.tables.begin(), request.tables.end(), "") != request.tables.end()) {
    throw Error(ErrorKind::kUsage, "a database or a table has no name");
  }
  if (request.parallel > 1 && request.format != DumpFormat::kDirectory) {
    throw Error(ErrorKind::kUsage, "only the directory format can be dumped in parallel",
                "say --format directory, or leave -j away");
  }
  const std::string component = dump_component(request.component, request.database);
  if (!repository::is_backup_id(repository::make_backup_id(component, {}))) {
    throw Error(ErrorKind::kUsage,
                fmt::format("no dump can be called {}: the name is too long", component));
  }
}

ClientPrograms programs_of(const DumpRequest& request, const Connection& connection) {
  if (!request.programs.empty()) return ClientPrograms(request.programs);
  return ClientPrograms::find(connection.server_version_num() / 10000);
}

// The server's clock; the session is in UTC.
base::Time server_time(Connection& connection) {
  const std::string text =
      connection.value("SELECT to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS.US')");
  const std::optional<base::Time> time = base::parse_time(text, {});
  if (!time) throw Error(ErrorKind::kFailed, fmt::format("the server's time is \"{}\"", text));
  return *time;
}

// How a script of pg_dump or pg_dumpall ends: a comment, then (since the minor versions of August
// 2025) psql's leave to run its own commands again.
bool ends_well(std::string_view tail, std::string_view last_comment) {
  const std::string ending = fmt::format("--\n-- {}\n--\n", last_comment);
  const auto at = tail.rfind(ending);
  if (at == std::string_view::npos) return false;
  std::string_view rest = tail.substr(at + ending.size());
  while (rest.starts_with('\n')) rest.remove_prefix(1);
  if (rest.empty()) return true;
  return rest.starts_with("\\unrestrict ") &&
         rest.find_first_not_of('\n', rest.find('\n')) == std::string_view::npos &&
         rest.ends_with('\n');
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    if (end > 0) lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// A file of the backup, of the user whom this runs as.
FileEntry new_entry(std::string path, base::Time now) {
  FileEntry entry;
  entry.path = std::move(path);
  entry.mode = 0600;
  entry.uid = ::geteuid();
  entry.gid = ::getegid();
  if (const passwd* user = ::getpwuid(entry.uid)) entry.owner = user->pw_name;
  if (const group* its_group = ::getgrgid(entry.gid)) entry.group = its_group->gr_name;
  entry.modified = now;
  return entry;
}

void finish_entry(FileEntry& entry, std::vector<repository::Extent> extents, std::uint64_t size,
                  Writer& writer) {
  entry.extents = std::move(extents);
  entry.size_bytes = size;
  repository::store_extents(entry, writer);
}

class DumpRun {
 public:
  DumpRun(const Context& context, const DumpRequest& request, repository::BackupRun& run,
          base::Progress& progress, std::stop_token stop)
      : context_(context),
        request_(request),
        run_(run),
        progress_(progress),
        stop_(std::move(stop)),
        connection_(request.connection, request.database),
        client_(client_connection(request.connection, request.database)),
        programs_(programs_of(request, connection_)),
        cutter_(context.keyring.identity) {
    connection_.obey(stop_);
    details_.database = request.database;
    details_.format = request.format;
    details_.tables = request.tables;
    details_.path = dump_path(request.database, request.format);
  }

  BackupSummary run() {
    look_at_dump_before();
    run_.begin(summary_);
    details_.version_num = connection_.server_version_num();
    details_.server_version = connection_.value("SHOW server_version");
    details_.pg_dump_version = programs_.version("pg_dump");
    const std::string snapshot = take_snapshot();

    repository::ChunkStore store(context_, run_.index(), {});
    const std::unique_ptr<Writer> writer = store.new_writer();
    progress_.phase("dumping " + request_.database, 0);
    if (request_.format == DumpFormat::kDirectory) {
      dump_directory(snapshot, store);
    } else {
      dump_file(snapshot, *writer);
    }
    connection_.query("COMMIT");
    dump_globals(*writer);
    std::sort(entries_.begin(), entries_.end(),
              [](const FileEntry& a, const FileEntry& b) { return a.path < b.path; });

    repository::BackupRecord record;
    record.file_table = repository::store_file_table(entries_, *writer);
    writer->finish();
    progress_.phase("writing the last packs", 0);
    record.indexes = store.finish();
    fill_summary(store.statistics());
    record.summary = summary_;
    run_.publish(record, stop_);
    return record.summary;
  }

 private:
  void look_at_dump_before() {
    const std::optional<repository::BackupRecord> before = run_.take_newest();
    if (!before) return;
    if (before->summary.type != kDumpType) {
      throw Error(ErrorKind::kRefused,
                  fmt::format("{} is a component of type {} in this repository, and no dump",
                              before->summary.component, before->summary.type),
                  "call that component by another name");
    }
    before_.emplace(context_, run_.index(), *before, details_);
  }

  std::unique_ptr<repository::OldContent> content_before(const std::string& path) const {
    return before_ ? before_->content_of(path) : nullptr;
  }

  // pg_dump takes the same: so it is known what the dump shows.
  std::string take_snapshot() {
    details_.snapshot_from = server_time(connection_);
    connection_.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    std::string snapshot = connection_.value("SELECT pg_export_snapshot()");
    details_.snapshot_to = server_time(connection_);
    return snapshot;
  }

  base::ProcessOptions pg_dump(const std::string& snapshot,
                               std::vector<std::string> arguments) const {
    arguments.push_back(fmt::format("--format={}", name_of(request_.format)));
    arguments.push_back("--snapshot=" + snapshot);
    for (const std::string& table : request_.tables) arguments.push_back("--table=" + table);
    arguments.emplace_back("--strict-names");  // a pattern that finds nothing is an error
    return programs_.command("pg_dump", client_, std::move(arguments));
  }

  void dump_file(const std::string& snapshot, Writer& writer) {
    const bool custom = request_.format == DumpFormat::kCustom;
    std::optional<base::ProcessOptions> judge;
    if (custom) judge = programs_.command("pg_restore", {"--file=/dev/null"});
    std::vector<std::string> arguments;
    if (custom) arguments.push_back("--compress=0");
    StoredOutput stored =
        store_output(pg_dump(snapshot, arguments), judge, {cutter_, writer, progress_, stop_},
                     content_before(details_.path));
    if (!custom && !ends_well(stored.tail, "PostgreSQL database dump complete")) {
      throw Error(ErrorKind::kFailed, "what pg_dump wrote is not whole: it has no end");
    }
    note(stored.words);
    details_.whole_next = stored.scatter.is_too_much();
    FileEntry entry = new_entry(details_.path, context_.clock.now());
    finish_entry(entry, std::move(stored.extents), stored.size_bytes, writer);
    entries_.push_back(std::move(entry));
  }

  void dump_directory(const std::string& snapshot, repository::ChunkStore& store) {
    const ScratchDirectory scratch(request_.scratch, "holdfast-dump-");
    const fs::path directory = scratch.path() / "dump";
    note(
        run_client(pg_dump(snapshot, {"--compress=0", "--jobs=" + std::to_string(request_.parallel),
                                      "--file=" + directory.string()}),
                   stop_));
    base::with_context("what pg_dump wrote is not whole", [&] {
      run_client(programs_.command("pg_restore", {"--file=/dev/null", directory.string()}), stop_);
    });
    require_whole(directory, connection_, /*large_objects=*/request_.tables.empty(), stop_);
    store_directory(directory, store);
  }

  void store_directory(const fs::path& directory, repository::ChunkStore& store) {
    FileEntry top = new_entry(details_.path, context_.clock.now());
    top.type = repository::FileType::kDirectory;
    top.mode = 0700;
    std::vector<std::string> names;
    for (const fs::directory_entry& file : fs::directory_iterator(directory)) {
      names.push_back(file.path().filename().string());
    }
    std::vector<FileEntry> files(names.size(), new_entry(details_.path, top.modified));
    std::atomic<std::size_t> next = 0;
    base::Guarded<repository::Scatter> scatter;
    base::WorkerGroup workers(stop_);
    for (int i = 0; i < request_.parallel; ++i) {
      workers.start([&](std::stop_token stopped) {
        const std::unique_ptr<Writer> writer = store.new_writer();
        for (std::size_t n = next++; n < names.size(); n = next++) {
          base::throw_if_stopped(stopped);
          files[n].path += "/" + names[n];
          scatter.lock()->add(store_file(directory / names[n], files[n], *writer));
        }
        writer->finish();
      });
    }
    workers.join();
    details_.whole_next = scatter.lock()->is_too_much();
    entries_.push_back(std::move(top));
    entries_.insert(entries_.end(), files.begin(), files.end());
  }

  repository::Scatter store_file(const fs::path& path, FileEntry& entry, Writer& writer) {
    const base::UniqueFd file = base::open_file(path, O_RDONLY);
    repository::DeltaWriter content(cutter_, writer, content_before(entry.path));
    base::Bytes buffer(kReadSize);
    while (const std::size_t size = base::read_at(file.get(), content.size_bytes(), buffer, path)) {
      content.write(base::ByteView(buffer.data(), size));
      progress_.advance(size);
    }
    auto extents = content.finish();
    finish_entry(entry, std::move(extents), content.size_bytes(), writer);
    return content.scatter();
  }

  // Roles with their passwords, where the user may read those; then without. A dump is good without
  // them: that they are missing is said.
  void dump_globals(Writer& writer) {
    const std::vector<std::string> all = {"--globals-only", "--database=" + client_.conninfo};
    std::vector<std::string> without_passwords = all;
    without_passwords.push_back("--no-role-passwords");
    std::string why;
    try {
      return store_globals(all, writer);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kFailed) throw;
      why = error.what();
      why.resize(std::min(why.find("; "), why.size()));  // without the query, which is long
    }
    try {
      store_globals(without_passwords, writer);
      warn("the roles are stored without their passwords: " + why);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kFailed) throw;
      warn(fmt::format("roles and tablespaces are not in this dump: {}", error.what()));
    }
  }

  void store_globals(const std::vector<std::string>& arguments, Writer& writer) {
    // It takes the name of a database for a connection string where it looks like one; so it gets
    // one in its place.
    const ClientConnection nothing_more{.conninfo = "", .environment = client_.environment};
    StoredOutput stored = store_output(programs_.command("pg_dumpall", nothing_more, arguments), {},
                                       {cutter_, writer, progress_, stop_}, nullptr);
    if (!ends_well(stored.tail, "PostgreSQL database cluster dump complete")) {
      throw Error(ErrorKind::kFailed, "what pg_dumpall wrote is not whole: it has no end");
    }
    FileEntry entry = new_entry(std::string(kGlobalsFile), context_.clock.now());
    finish_entry(entry, std::move(stored.extents), stored.size_bytes, writer);
    entries_.push_back(std::move(entry));
    details_.globals = true;
  }

  void fill_summary(const repository::StoreStatistics& statistics) {
    summary_.type = kDumpType;
    summary_.kind = "full";
    summary_.job = request_.job;
    for (const FileEntry& entry : entries_) {
      if (entry.type != repository::FileType::kFile) continue;
      ++summary_.files;
      summary_.bytes += entry.size_bytes;
    }
    summary_.bytes_read = summary_.bytes;
    summary_.bytes_stored = statistics.bytes_stored;
    summary_.details_key = kDumpType;
    summary_.details_json = details_to_json(details_);
  }

  void note(const std::string& words) {
    for (std::string& line : lines_of(words)) {
      progress_.note(line);
      if (details_.notes.size() < kMostNotes) details_.notes.push_back(std::move(line));
    }
  }

  void warn(std::string text) { summary_.warnings.push_back(std::move(text)); }

  static constexpr std::size_t kMostNotes = 100;

  const Context& context_;
  const DumpRequest& request_;
  repository::BackupRun& run_;
  base::Progress& progress_;
  std::stop_token stop_;
  Connection connection_;
  ClientConnection client_;
  ClientPrograms programs_;
  repository::ContentCutter cutter_;
  DumpDetails details_;
  std::optional<PreviousDump> before_;
  BackupSummary summary_;
  std::vector<FileEntry> entries_;
};

}  // namespace

BackupSummary take_dump(const Context& context, const DumpRequest& request,
                        base::Progress& progress, std::stop_token stop) {
  check_request(request);
  return base::with_context(
      [&] { return fmt::format("while dumping {}", request.database); },
      [&] {
        repository::BackupRun run(context, dump_component(request.component, request.database),
                                  progress);
        BackupSummary summary = DumpRun(context, request, run, progress, stop).run();
        run.end(summary);
        return summary;
      });
}

}  // namespace holdfast::postgres
