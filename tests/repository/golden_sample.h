// A small backup of every shape that the format knows, for the golden repository and for readers of
// other hands.
#pragma once

#include <map>
#include <string>

#include "fixture.h"
#include "repository/chunk_writer.h"
#include "repository/file_table.h"
#include "repository/index.h"
#include "repository/log_object.h"
#include "repository/record.h"
#include "sample_pages.h"
#include "storage/contents.h"

namespace holdfast::repository {

inline constexpr std::string_view kSampleWal =
    "wal/7300000000000000000/00000001/000000010000000000000001";
inline constexpr std::string_view kSampleHistory =
    "wal/7300000000000000000/00000002/00000002.history";

struct Sample {
  std::string backup;
  std::map<std::string, base::Bytes> files;
  std::map<std::string, std::string> links;
  base::Bytes wal;
  base::Bytes history;
};

namespace sample_parts {

// Pages of which every other compresses.
inline base::Bytes pages(std::size_t count, std::uint64_t seed) {
  base::Bytes content = storage::make_content(count * 8192, seed);
  for (std::size_t page = 0; page < count; page += 2) {
    std::fill_n(content.begin() + static_cast<std::ptrdiff_t>(page * 8192), 8192,
                static_cast<std::uint8_t>(page));
  }
  return content;
}

inline FileEntry file(std::string path, const base::Bytes& content, base::Time modified) {
  FileEntry entry;
  entry.path = std::move(path);
  entry.mode = 0640;
  entry.owner = "postgres";
  entry.uid = 101;
  entry.group = "postgres";
  entry.gid = 104;
  entry.modified = modified;
  entry.size_bytes = content.size();
  return entry;
}

inline void add_extent(FileEntry& entry, std::uint64_t length, const ChunkId& chunk,
                       std::uint32_t offset = 0) {
  Extent extent;
  extent.length_bytes = length;
  extent.chunk = chunk;
  extent.chunk_offset = offset;
  entry.extents.push_back(extent);
}

}  // namespace sample_parts

// A log of three frames which compresses well.
inline base::Bytes make_large_wal() {
  base::Bytes wal(5 * 1024 * 1024 + 8192);
  for (std::size_t i = 0; i < wal.size(); ++i) wal[i] = static_cast<std::uint8_t>(i / 8192);
  return wal;
}

namespace sample_parts {

// A relation: a stretch of a chunk, a hole of zero bytes, the rest of the chunk.
inline void add_relation(Sample& sample, std::vector<FileEntry>& entries, const base::Bytes& chunk,
                         const ChunkId& chunk_id, base::Time started) {
  base::Bytes relation(chunk.begin(), chunk.begin() + 3 * 8192);
  relation.resize(relation.size() + 2 * 8192);
  relation.insert(relation.end(), chunk.begin() + 3 * 8192, chunk.end());
  FileEntry entry = file("base/16384", relation, started);
  add_extent(entry, 3 * 8192, chunk_id);
  add_extent(entry, 2 * 8192, ChunkId{});
  add_extent(entry, 5 * 8192, chunk_id, 3 * 8192);
  entries.push_back(entry);
  sample.files["base/16384"] = relation;
}

// A file of so many extents that they stand in chunks of their own.
inline void add_scattered(Sample& sample, std::vector<FileEntry>& entries, const base::Bytes& chunk,
                          const ChunkId& chunk_id, base::Time started, ChunkStore::Writer& writer) {
  base::Bytes scattered;
  FileEntry entry = file("base/16385", {}, started);
  for (std::uint32_t page = 0; page < 40; ++page) {
    const std::uint32_t offset = page * 5 % 8 * 8192;
    scattered.insert(scattered.end(), chunk.begin() + offset, chunk.begin() + offset + 8192);
    add_extent(entry, 8192, chunk_id, offset);
  }
  entry.size_bytes = scattered.size();
  store_extents(entry, writer);
  EXPECT_FALSE(entry.extent_chunks.empty());
  entries.push_back(entry);
  sample.files["base/16385"] = scattered;
}

inline void add_small_files(Sample& sample, std::vector<FileEntry>& entries, base::Time started,
                            ChunkStore::Writer& writer) {
  entries.push_back(file("empty", {}, started));
  sample.files["empty"] = {};

  FileEntry link = file("link", {}, started);
  link.type = FileType::kSymlink;
  link.link_target = "/somewhere/else";
  entries.push_back(link);
  sample.links["link"] = link.link_target;

  const base::Bytes version = bytes_of("15\n");
  FileEntry entry = file("version \xff", version, started);  // names need not be UTF-8
  add_extent(entry, version.size(), writer.put_bytes(version));
  entries.push_back(entry);
  sample.files["version \xff"] = version;
}

}  // namespace sample_parts

// Puts one backup of `component` with its WAL.
inline Sample put_sample(const Context& context, std::string_view component, base::Time started) {
  using namespace sample_parts;
  Sample sample;
  const Index index = Index::load(context);
  ChunkStore store(context, index, {});
  auto writer = store.new_writer();
  std::vector<FileEntry> entries;

  FileEntry directory = file("base", {}, started);
  directory.type = FileType::kDirectory;
  directory.mode = 0750;
  entries.push_back(directory);

  base::Bytes chunk = pages(7, 1);
  const base::Bytes index_leaf = index_page(8192, 16, 1);
  chunk.insert(chunk.end(), index_leaf.begin(), index_leaf.end());
  const ChunkId chunk_id = writer->put_pages(chunk, 8192);
  add_relation(sample, entries, chunk, chunk_id, started);
  add_scattered(sample, entries, chunk, chunk_id, started, *writer);
  add_small_files(sample, entries, started, *writer);

  BackupRecord record;
  record.file_table = store_file_table(entries, *writer);
  writer->finish();
  record.indexes = store.finish();
  record.summary.component = component;
  record.summary.id = make_backup_id(component, started);
  record.summary.type = "postgresql";
  record.summary.kind = "full";
  record.summary.job = "daily";
  record.summary.started = started;
  record.summary.finished = started + std::chrono::milliseconds(1500);
  record.summary.files = sample.files.size();
  record.summary.details_key = "postgresql";
  record.summary.details_json = R"({"version":"15.5"})";

  sample.wal = pages(4, 2);
  put_log(context, kSampleWal, sample.wal, {{"pg.segment", bytes_of("section")}}, 1);
  sample.history = bytes_of("1\t0/3000000\tno recovery target specified\n");
  put_inline_log(context, kSampleHistory, sample.history, {});
  EXPECT_EQ(put_record(context, record), storage::PutResult::kCreated);
  sample.backup = record.summary.id;
  return sample;
}

}  // namespace holdfast::repository
