// The logical dumps of one database, COMPONENT.DATABASE, as a component of their own: what can be
// asked of those that are there. They are taken by the PostgreSQL component.
#pragma once

#include "stack/component.h"

namespace holdfast::stack {

std::unique_ptr<Component> make_dump_component(const ComponentConfig& config);

}  // namespace holdfast::stack
