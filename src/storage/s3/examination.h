// What `check` asks of a store. Internal to the S3 driver.
#pragma once

#include <string>
#include <vector>

#include "storage/object_store.h"
#include "storage/s3/abilities.h"

namespace holdfast::storage::s3 {

// See ObjectStore::examine(). Leaves the probe object, which every run may need.
std::vector<StoreFinding> examine(Client& client, Abilities& abilities, const Options& options,
                                  const std::string& prefix);

}  // namespace holdfast::storage::s3
