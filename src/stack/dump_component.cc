#include "stack/dump_component.h"

#include <fmt/format.h>

#include "base/error.h"
#include "files/restore.h"
#include "postgres/dump_details.h"

namespace holdfast::stack {
namespace {

using base::Error;
using base::ErrorKind;

void refuse_what_clusters_have(const RestoreOptions& options) {
  const std::pair<bool, const char*> given[] = {
      {options.lsn.has_value(), "--lsn"},
      {options.xid.has_value(), "--xid"},
      {options.name.has_value(), "--name"},
      {!options.timeline.empty(), "--timeline"},
      {!options.action.empty(), "--action"},
      {!options.tablespaces.empty(), "--tablespace"},
      {options.start, "--start"},
  };
  for (const auto& [is_given, option] : given) {
    if (!is_given) continue;
    throw Error(ErrorKind::kUsage, fmt::format("{} is nothing for a logical dump", option),
                "a dump is given back as the files that pg_restore and psql take");
  }
}

// What a shell takes for one word.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::string how_to_load(const postgres::DumpDetails& details, const std::filesystem::path& to) {
  const std::string file = quoted((to / details.path).string());
  const std::string database = quoted(details.database);
  const std::string globals = details.globals
                                  ? fmt::format("psql -d postgres -f {} && ",
                                                quoted((to / postgres::kGlobalsFile).string()))
                                  : std::string();
  const std::string load = details.format == postgres::DumpFormat::kPlain
                               ? fmt::format("psql -v ON_ERROR_STOP=1 -d {} -f {}", database, file)
                               : fmt::format("pg_restore -d {} {}", database, file);
  return fmt::format("load it with: {}createdb -T template0 {} && {}", globals, database, load);
}

class DumpComponent final : public Component {
 public:
  explicit DumpComponent(const ComponentConfig& config) : config_(config) {}

  repository::BackupSummary take_backup(const repository::Context&, const BackupOptions&,
                                        base::Progress&, std::stop_token) override {
    throw Error(ErrorKind::kUsage, fmt::format("{} is the name of logical dumps", config_.name),
                "take one with `dump DATABASE`");
  }

  RestoreOutcome restore(const repository::Context& context, const RestoreOptions& options,
                         base::Progress& progress, std::stop_token stop) override {
    refuse_what_clusters_have(options);
    const repository::BackupRecord record = find(context, options);
    const postgres::DumpDetails details = postgres::dump_details_of(record.summary);
    files::RestoreResult result = files::restore_tree(context, record,
                                                      {.to = options.to,
                                                       .only = options.only,
                                                       .delta = options.delta,
                                                       .workers = options.workers,
                                                       .thaw = options.thaw},
                                                      progress, std::move(stop));
    RestoreOutcome outcome;
    outcome.backup = record.summary.id;
    outcome.bytes = result.bytes;
    outcome.bytes_written = result.bytes_written;
    outcome.files = result.files;
    outcome.removed = result.removed;
    outcome.notes = std::move(result.notes);
    outcome.warnings = std::move(result.warnings);
    if (options.only.empty()) outcome.next_step = how_to_load(details, options.to);
    return outcome;
  }

  bool is_good(const repository::BackupSummary&) override { return true; }  // or it were not there

  void check(const repository::Context*, const CheckOptions&, const Findings&) override {}

 private:
  // The one that is named, or else the newest that shows the moment or one before it.
  repository::BackupRecord find(const repository::Context& context,
                                const RestoreOptions& options) const {
    if (options.backup) {
      return repository::get_record(
          context, repository::resolve_backup(context, *options.backup, config_.name));
    }
    const auto catalog = repository::list_backups(context, config_.name);
    for (auto backup = catalog.backups.rbegin(); backup != catalog.backups.rend(); ++backup) {
      if (!options.at || postgres::dump_details_of(*backup).snapshot_to <= *options.at) {
        return repository::get_record(context, backup->id);
      }
    }
    if (catalog.backups.empty()) {
      throw Error(ErrorKind::kNotFound, fmt::format("there is no dump of {}", config_.name));
    }
    throw Error(ErrorKind::kNotFound,
                fmt::format("{} has no dump from {} or before", config_.name,
                            base::format_time(*options.at)),
                fmt::format("the oldest is {}, of {}", catalog.backups.front().id,
                            base::format_time(
                                postgres::dump_details_of(catalog.backups.front()).snapshot_to)));
  }

  ComponentConfig config_;
};

}  // namespace

std::unique_ptr<Component> make_dump_component(const ComponentConfig& config) {
  return std::make_unique<DumpComponent>(config);
}

}  // namespace holdfast::stack
