// Small backups of seeded data: chunks, file table and record as a component would write them.
#pragma once

#include <map>
#include <random>
#include <string>
#include <vector>

#include "fixture.h"
#include "repository/chunk_reader.h"
#include "repository/file_table.h"
#include "repository/verify.h"

namespace holdfast::repository {

// As it is found by a run of its own.
inline base::Bytes read_chunk(const Context& context, const ChunkId& id) {
  const Index index = Index::load(context);
  ChunkReader reader(context, index);
  base::Bytes content(reader.length(id));
  reader.read_and_check_id(id, content);
  return content;
}

// One writing run of one thread.
struct StoreRun {
  explicit StoreRun(const Context& context_in, ChunkStore::Options options = {})
      : context(context_in), index(Index::load(context)), store(context, index, options) {}

  std::vector<IndexId> finish() {
    writer->finish();
    return store.finish();
  }

  Context context;
  Index index;
  ChunkStore store;
  std::unique_ptr<ChunkStore::Writer> writer = store.new_writer();
};

inline constexpr std::uint32_t kSamplePageSize = 8192;
inline constexpr std::size_t kSampleChunkPages = 2;

using SampleFiles = std::map<std::string, base::Bytes>;

inline base::Bytes random_bytes(std::size_t size, std::uint32_t seed) {
  std::mt19937 generator(seed);
  base::Bytes bytes(size);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(generator());
  return bytes;
}

// Pages of which half compress well, with a zero page here and there.
inline base::Bytes sample_pages(std::size_t count, std::uint32_t seed) {
  base::Bytes pages = random_bytes(count * kSamplePageSize, seed);
  for (std::size_t page = 0; page < count; ++page) {
    const auto begin = pages.begin() + static_cast<std::ptrdiff_t>(page * kSamplePageSize);
    if (page % 2 == 1) std::fill(begin + 64, begin + kSamplePageSize, std::uint8_t{7});
    if (page % 7 == 6) std::fill(begin, begin + kSamplePageSize, std::uint8_t{0});
  }
  return pages;
}

// A file of many chunks (with extents of their own), one with a range of zero bytes, a short one
// that is no relation, an empty one.
inline SampleFiles sample_files(std::uint32_t seed) {
  SampleFiles files;
  files["base/1/1000"] = sample_pages(24, seed);
  files["base/1/2000"] = sample_pages(5, seed + 1);
  files["base/1/3000"] = base::Bytes(4 * kSamplePageSize, 0);
  files["base/1/empty"] = {};
  files["pg_version"] = random_bytes(3, seed + 2);
  return files;
}

inline FileEntry store_sample_file(const std::string& path, const base::Bytes& content,
                                   ChunkStore::Writer& writer) {
  FileEntry entry;
  entry.path = path;
  entry.mode = 0600;
  entry.owner = entry.group = "postgres";
  entry.size_bytes = content.size();
  const bool paged = content.size() % kSamplePageSize == 0;
  const std::size_t chunk_size = kSampleChunkPages * kSamplePageSize;
  for (std::size_t at = 0; at < content.size(); at += chunk_size) {
    const base::ByteView chunk =
        base::ByteView(content).subspan(at, std::min(chunk_size, content.size() - at));
    entry.extents.push_back(
        {chunk.size(), paged ? writer.put_pages(chunk, kSamplePageSize) : writer.put_bytes(chunk),
         0});
  }
  store_extents(entry, writer);
  return entry;
}

// Gives the backup's id: test-20240117T1200NNZ, where NN is `number`.
inline std::string take_sample_backup(const Context& context, int number, const SampleFiles& files,
                                      std::size_t pack_size_bytes = 64 * 1024) {
  BackupRecord record;
  record.summary.started = context.clock.now() + std::chrono::seconds(number);
  record.summary.id = make_backup_id("test", record.summary.started);
  record.summary.component = "test";
  record.summary.type = "files";
  record.summary.kind = "full";
  record.summary.finished = record.summary.started;

  const Index index = Index::load(context);
  ChunkStore store(context, index, {.upload_threads = 2, .pack_size_bytes = pack_size_bytes});
  const auto writer = store.new_writer();
  std::vector<FileEntry> entries;
  for (const auto& [path, content] : files) {
    entries.push_back(store_sample_file(path, content, *writer));
  }
  record.file_table = store_file_table(entries, *writer);
  writer->finish();
  record.indexes = store.finish();
  if (put_record(context, record) != storage::PutResult::kCreated) {
    throw base::Error(base::ErrorKind::kRefused, "the backup exists");
  }
  return record.summary.id;
}

inline SampleFiles read_sample_backup(const Context& context, const std::string& id) {
  const Index index = Index::load(context);
  ChunkReader reader(context, index);
  SampleFiles files;
  load_file_table(get_record(context, id).file_table, reader, [&](FileEntry&& entry) {
    base::Bytes& content = files[entry.path];
    for (const Extent& extent : load_extents(entry, reader)) {
      if (extent.chunk.is_zero_range()) {
        content.resize(content.size() + extent.length_bytes);
      } else {
        const base::Bytes chunk = reader.read(extent.chunk);
        const auto begin = chunk.begin() + extent.chunk_offset;
        content.insert(content.end(), begin,
                       begin + static_cast<std::ptrdiff_t>(extent.length_bytes));
      }
    }
  });
  return files;
}

inline VerifyReport verify_backups(const Context& context, std::vector<std::string> backups,
                                   bool quick = false, const NeededLogs& needed_logs = {}) {
  base::NoProgress progress;
  return verify(context, {.backups = std::move(backups), .quick = quick}, needed_logs, progress,
                {});
}

}  // namespace holdfast::repository
