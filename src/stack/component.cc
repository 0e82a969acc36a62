#include "stack/component.h"

#include <fmt/format.h>

#include "base/error.h"
#include "stack/dump_component.h"
#include "stack/files_component.h"
#include "stack/postgres_component.h"

namespace holdfast::stack {
namespace {

struct ComponentType {
  std::string_view type;
  std::unique_ptr<Component> (*make)(const ComponentConfig& config);
};

// The kinds of components: one line each.
constexpr ComponentType kTypes[] = {
    {"postgresql", make_postgres_component},
    {"dump", make_dump_component},
    {"files", make_files_component},
    {"secrets", make_files_component},
};

[[noreturn]] void only_databases(std::string_view what) {
  throw base::Error(base::ErrorKind::kUsage,
                    fmt::format("{} is for components of type postgresql", what));
}

}  // namespace

repository::BackupSummary Component::take_dump(const repository::Context&, const DumpOptions&,
                                               base::Progress&, std::stop_token) {
  only_databases("a logical dump");
}

TableRestoreOutcome Component::restore_tables(const repository::Context&,
                                              const TableRestoreOptions&, base::Progress&,
                                              std::stop_token) {
  only_databases("a restore of single tables");
}

RecoveryWindow Component::recovery_window(const repository::Context&,
                                          const std::vector<repository::BackupSummary>& backups) {
  return {.from = backups.front().finished, .to = backups.back().finished};
}

std::vector<std::string> Component::needed_logs(const repository::BackupSummary&) { return {}; }

std::string Component::system_of(const repository::BackupSummary&) { return {}; }

LogRemoval Component::logs_to_remove(const repository::Context&, const LogRetention&) { return {}; }

std::unique_ptr<Component> find_component(const ComponentConfig& config) {
  for (const ComponentType& known : kTypes) {
    if (known.type == config.type) return known.make(config);
  }
  return nullptr;
}

std::unique_ptr<Component> find_component(const repository::BackupSummary& backup) {
  ComponentConfig config;
  config.name = backup.component;
  config.type = backup.type;
  return find_component(config);
}

std::unique_ptr<Component> make_component(const ComponentConfig& config) {
  auto component = find_component(config);
  if (component) return component;
  throw base::Error(base::ErrorKind::kConfig,
                    fmt::format("{}: components of type {} are not supported by this version yet",
                                config.where, config.type));
}

}  // namespace holdfast::stack
