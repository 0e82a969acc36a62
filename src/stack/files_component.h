// Files and secrets as components.
#pragma once

#include "stack/component.h"

namespace holdfast::stack {

std::unique_ptr<Component> make_files_component(const ComponentConfig& config);

}  // namespace holdfast::stack
