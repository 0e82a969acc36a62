#include "postgres/previous_dump.h"

#include "base/error.h"

namespace holdfast::postgres {
namespace {

bool is_alike(const repository::BackupRecord& record, const DumpDetails& now) {
  const DumpDetails before = dump_details_of(record.summary);
  return before.format == now.format && before.tables == now.tables && !before.whole_next;
}

}  // namespace

PreviousDump::PreviousDump(const repository::Context& context, const repository::Index& index,
                           const repository::BackupRecord& record, const DumpDetails& details)
    : context_(context), index_(index) {
  if (!context.keyring.can_read_data()) return;
  try {
    if (!is_alike(record, details)) return;
    repository::ChunkReader reader(context, index);
    repository::load_file_table(record.file_table, reader, [&](repository::FileEntry&& entry) {
      if (entry.type == repository::FileType::kFile) files_[entry.path] = std::move(entry);
    });
  } catch (const base::Error& error) {
    // A new dump needs nothing of an old one.
    if (error.kind() == base::ErrorKind::kInterrupted) throw;
    files_.clear();
  }
}

std::unique_ptr<repository::OldContent> PreviousDump::content_of(const std::string& path) const {
  const auto file = files_.find(path);
  if (file == files_.end()) return nullptr;
  return std::make_unique<repository::OldContent>(context_, index_, file->second);
}

}  // namespace holdfast::postgres
