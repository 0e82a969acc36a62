// PostgreSQL clusters as components.
#pragma once

#include <memory>

#include "stack/component.h"

namespace holdfast::stack {

std::unique_ptr<Component> make_postgres_component(const ComponentConfig& config);

}  // namespace holdfast::stack
