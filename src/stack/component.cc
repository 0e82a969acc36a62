#include "stack/component.h"

#include <fmt/format.h>

#include "base/error.h"
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
};

}  // namespace

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
