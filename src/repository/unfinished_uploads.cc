#include "repository/unfinished_uploads.h"

#include <algorithm>

#include "base/error.h"
#include "repository/fence.h"

namespace holdfast::repository {

namespace {

constexpr base::Duration kOfWal = std::chrono::hours(1);

}  // namespace

AbandonedUploads abandoned_uploads(const Context& context, base::Time now, base::Duration grace,
                                   std::optional<base::Time> oldest_run) {
  AbandonedUploads found;
  storage::ObjectStore* store = context.storage.object_store();
  if (store == nullptr) return found;
  try {
    found.uploads = store->unfinished_uploads();
  } catch (const base::Error& error) {
    if (!is_refusal(error)) throw;
    found.problem = error.what();
    return found;
  }
  std::erase_if(found.uploads, [&](const storage::UnfinishedUpload& upload) {
    // Backups hold a lock; a `wal push` that is in the middle of one does not.
    const base::Duration least = upload.name.starts_with("wal/") ? std::max(grace, kOfWal) : grace;
    const bool young = least > base::Duration(0) && now - upload.begun < least;
    return young || (oldest_run && upload.begun >= *oldest_run);
  });
  return found;
}

void abort_uploads(const Context& context, const std::vector<storage::UnfinishedUpload>& uploads) {
  for (const storage::UnfinishedUpload& upload : uploads) {
    context.storage.object_store()->abort_upload(upload);
  }
}

}  // namespace holdfast::repository
