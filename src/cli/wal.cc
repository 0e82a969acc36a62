#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "base/detached.h"
#include "base/error.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/wal_system.h"
#include "postgres/backup_details.h"
#include "postgres/control_file.h"
#include "postgres/wal_ahead.h"
#include "postgres/wal_archive.h"
#include "postgres/wal_prefetch.h"
#include "stack/archiving_key.h"
#include "stack/repositories.h"

namespace holdfast::cli {
namespace {

using base::Error;
using base::ErrorKind;

std::uint64_t parse_system(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size() && value != 0) return value;
  throw Error(ErrorKind::kUsage, fmt::format("\"{}\" is no system identifier", text),
              "a number, as pg_controldata shows it");
}

std::optional<std::uint64_t> system_of_newest_backup(const repository::Context& context,
                                                     const std::string& component) {
  const auto catalog = repository::list_backups(context, component);
  for (auto backup = catalog.backups.rbegin(); backup != catalog.backups.rend(); ++backup) {
    if (backup->type == "postgresql") return postgres::details_of(*backup).system_id;
  }
  return std::nullopt;
}

// As PostgreSQL calls it, the current directory is the data directory, which knows best.
std::uint64_t system_to_fetch_from(Session& session) {
  if (const auto given = session.arguments().value("--system")) return parse_system(*given);
  std::error_code ignored;
  if (std::filesystem::exists("global/pg_control", ignored)) {
    return postgres::system_id_of_data_directory(".");
  }
  const repository::Context& context = session.repository().context();
  if (const auto component = postgres_component(session)) {
    if (const auto system = system_of_newest_backup(context, *component)) return *system;
  }
  const auto systems = postgres::systems_with_wal(context);
  if (systems.size() == 1) return systems.front();
  if (systems.empty()) {
    throw Error(ErrorKind::kNotFound, "the repository holds no WAL");
  }
  throw Error(ErrorKind::kUsage, "the repository holds the WAL of more than one cluster",
              "name one with --component NAME or --system ID");
}

}  // namespace

std::optional<std::string> postgres_component(Session& session) {
  if (const auto given = session.arguments().value("--component")) {
    const auto& component = session.config().component(*given);
    if (component.type == "postgresql") return component.name;
    throw Error(ErrorKind::kUsage, fmt::format("{} is a component of type {} and has no WAL",
                                               component.name, component.type));
  }
  std::optional<std::string> only;
  for (const auto& component : session.config().components) {
    if (component.type != "postgresql") continue;
    if (only) return std::nullopt;
    only = component.name;
  }
  return only;
}

namespace {

void report_archived(Session& session, const std::string& path, postgres::WalPush outcome) {
  const bool archived = outcome == postgres::WalPush::kArchived;
  if (session.verbose()) {
    session.note(fmt::format("{}: {}", path, archived ? "archived" : "is archived already"));
  }
  if (session.json()) {
    session.print_json(
        {{"file", std::filesystem::path(path).filename().string()}, {"archived", archived}});
  }
}

// With the level that WAL is compressed at: it is written while a server waits, and soon removed,
// so a tenth of its size counts less than a quarter of the time.
stack::RepositoryConfig archiving_config(Session& session) {
  stack::RepositoryConfig config = session.repository_config();
  config.compression = session.config().wal.compression.value_or(std::min(config.compression, 1));
  return config;
}

// Connections are one process's: a copy of it that used them too would take the other's answers for
// its own.
bool has_connections(const repository::Repository& repository) {
  return repository.storage().object_store() != nullptr;
}

// Where the configuration asks for it: see postgres/wal_ahead.h.
postgres::WalPush push_ahead(Session& session, const std::filesystem::path& path, int threads) {
  const stack::RepositoryConfig config = archiving_config(session);
  const auto directory = stack::private_directory();
  const std::string name = path.filename().string();
  if (directory) {
    // Without the keys, which take longer to open than this takes.
    const auto storage = stack::open_storage(config, session.clock(), session.random());
    if (postgres::ArchivedNotes(*directory, path.parent_path(), *storage).take(name)) {
      return postgres::WalPush::kArchived;
    }
  }
  const auto repository =
      stack::open_repository_for_archiving(config, session.clock(), session.random());
  std::optional<postgres::ArchivedNotes> notes;
  if (directory) notes.emplace(*directory, path.parent_path(), repository->storage());
  if (notes && !postgres::ready_after(path, 1).empty() && !notes->is_served()) {
    base::run_detached([&] {
      const postgres::AheadOptions options{.most = session.config().wal.push_ahead,
                                           .workers = 2 * threads};
      if (!has_connections(*repository)) {
        return postgres::archive_ahead(repository->context(), *notes, path, options);
      }
      const auto own =
          stack::open_repository_for_archiving(config, session.clock(), session.random());
      const postgres::ArchivedNotes own_notes(*directory, path.parent_path(), own->storage());
      postgres::archive_ahead(own->context(), own_notes, path, options);
    });
  }
  const auto pushed = postgres::push_wal(repository->context(), path, threads);
  if (notes) notes->forget(name);
  return pushed.outcome;
}

}  // namespace

int run_wal_push(Session& session) {
  // More threads than this find nothing to do in one segment.
  constexpr unsigned kMostThreads = 4;
  postgres_component(session);  // a name that is wrong is an error; the WAL itself says whose it is
  const std::string& path = session.arguments().positional.front();
  postgres::remove_fetched_ahead(std::filesystem::path(path).parent_path());
  const int threads =
      static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, kMostThreads));
  if (session.config().wal.push_ahead > 0) {
    report_archived(session, path, push_ahead(session, path, threads));
    return kDone;
  }
  const auto repository = stack::open_repository_for_archiving(archiving_config(session),
                                                               session.clock(), session.random());
  const auto pushed = postgres::push_wal(repository->context(), path, threads);
  report_archived(session, path, pushed.outcome);
  return kDone;
}

namespace {

// As recovery calls it, in the data directory, for the segments that it replays one by one.
std::optional<postgres::FetchedAhead> fetched_ahead(Session& session, const std::string& name,
                                                    const std::filesystem::path& destination) {
  const auto parsed = postgres::parse_wal_file_name(name);
  std::error_code ignored;
  if (!parsed || parsed->kind != postgres::WalFileKind::kSegment ||
      destination.filename() != "RECOVERYXLOG" || session.config().wal.fetch_ahead == 0 ||
      !std::filesystem::exists("global/pg_control", ignored)) {
    return std::nullopt;
  }
  return postgres::FetchedAhead(destination.parent_path(), session.repository_config().place(),
                                system_to_fetch_from(session));
}

// The process copies this one: where the repository is open already, its keys are not derived
// again.
void fetch_further(Session& session, const postgres::FetchedAhead& ahead, const std::string& name,
                   const std::filesystem::path& destination) {
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(destination, error);
  if (error || !postgres::is_segment_size(size) || ahead.follow(name)) return;
  const std::uint64_t system = system_to_fetch_from(session);
  base::run_detached([&] {
    const postgres::PrefetchOptions options{
        .system_id = system,
        .segment_size = static_cast<std::uint32_t>(size),
        .most = session.config().wal.fetch_ahead,
        // One core is for the replay.
        .workers = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 2U, 5U)) - 1};
    if (!has_connections(session.repository())) {
      return postgres::prefetch_wal(session.repository().context(), ahead, options, name);
    }
    const auto own = session.open(session.repository_config());
    postgres::prefetch_wal(own->context(), ahead, options, name);
  });
}

bool fetch(Session& session, const std::string& name, const std::filesystem::path& destination) {
  const auto ahead = fetched_ahead(session, name, destination);
  bool there = ahead && ahead->take(name, destination);
  if (!there) {
    session.repository().require_reading("wal fetch");
    const std::uint64_t system = system_to_fetch_from(session);
    there = postgres::fetch_wal(session.repository().context(), system, name, destination);
  }
  if (there && ahead) fetch_further(session, *ahead, name, destination);
  return there;
}

// Segments have the same numbers on all timelines.
bool is_later_than_wanted(Session& session, const std::string& name) {
  const auto last = session.arguments().value("--last");
  if (!last) return false;
  const auto limit = postgres::parse_wal_file_name(*last);
  if (!limit || limit->segment().empty()) {
    throw Error(ErrorKind::kUsage, fmt::format("\"{}\" is no name of a WAL segment", *last));
  }
  constexpr std::size_t kTimelineDigits = 8;
  const auto file = postgres::parse_wal_file_name(name);
  return file && !file->segment().empty() &&
         file->segment().substr(kTimelineDigits) > limit->segment().substr(kTimelineDigits);
}

}  // namespace

int run_wal_fetch(Session& session) {
  const std::string& name = session.arguments().positional[0];
  const std::string& destination = session.arguments().positional[1];
  // The format of names is checked here, so that a name that never was one is no "not there".
  if (!postgres::parse_wal_file_name(name)) {
    throw Error(ErrorKind::kUsage, fmt::format("\"{}\" is no name of a WAL file", name));
  }
  if (is_later_than_wanted(session, name) || !fetch(session, name, destination)) {
    // Recovery asks for what is not there at each end of the WAL: that is no error of anyone.
    constexpr int kNotThere = 4;
    session.note(fmt::format("holdfast: {} is not in the repository", name));
    if (session.json()) {
      session.print_json({{"error",
                           {{"code", "not_found"},
                            {"message", fmt::format("{} is not in the repository", name)},
                            {"hint", ""}}}});
    }
    return kNotThere;
  }
  if (session.json()) session.print_json({{"file", name}, {"to", destination}});
  return kDone;
}

}  // namespace holdfast::cli
