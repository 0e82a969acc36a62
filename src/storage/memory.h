// Objects in memory, for tests: also what a power loss leaves, since nothing is kept before put()
// returns.
#pragma once

#include <memory>

#include "storage/storage.h"

namespace holdfast::storage {

std::unique_ptr<Storage> open_memory();

}  // namespace holdfast::storage
