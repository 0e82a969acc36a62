// Uploads in parts that killed runs left at an object store, where they are invisible and cost.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "repository/repository.h"
#include "storage/object_store.h"

namespace holdfast::repository {

struct AbandonedUploads {
  std::vector<storage::UnfinishedUpload> uploads;
  std::string problem;  // why they cannot be listed; empty: they were
};

// Those that began before the grace time and before the oldest run at work; without a grace time
// all but those of runs at work. By the storage's clock. None where the storage knows no uploads.
AbandonedUploads abandoned_uploads(const Context& context, base::Time now, base::Duration grace,
                                   std::optional<base::Time> oldest_run);

void abort_uploads(const Context& context, const std::vector<storage::UnfinishedUpload>& uploads);

}  // namespace holdfast::repository
