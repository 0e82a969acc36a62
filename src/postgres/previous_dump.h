// The dump before, of which a new one takes over what has not changed.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "postgres/dump_details.h"
#include "repository/index.h"
#include "repository/old_content.h"

namespace holdfast::postgres {

// Thread-safe once made.
class PreviousDump {
 public:
  // Context and index outlive it. It has no files where the record is of another format or of
  // other tables than `details`, cannot be read (by this credential, or at all), or is too
  // scattered to be referred to.
  PreviousDump(const repository::Context& context, const repository::Index& index,
               const repository::BackupRecord& record, const DumpDetails& details);

  // One for each writer; null if there was no such file.
  std::unique_ptr<repository::OldContent> content_of(const std::string& path) const;

 private:
  const repository::Context& context_;
  const repository::Index& index_;
  std::unordered_map<std::string, repository::FileEntry> files_;
};

}  // namespace holdfast::postgres
