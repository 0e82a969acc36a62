#include "repository/copy_anew.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <span>

#include "base/concurrency.h"
#include "base/error.h"
#include "repository/file_table.h"
#include "repository/log_object.h"
#include "repository/pack_format.h"

namespace holdfast::repository {
namespace {

// With two writers and the queue: (writers + uploads + 3) × 17 MiB of packs, below 150 MiB.
constexpr int kMostWriters = 2;
constexpr int kMostUploads = 3;

class FixedClock final : public base::Clock {
 public:
  explicit FixedClock(base::Time time) : time_(time) {}
  base::Time now() const override { return time_; }

 private:
  base::Time time_;
};

class AnewRun {
 public:
  AnewRun(const Context& from, const Index& from_index, const BackupNeeds& needs, const Context& to,
          const Index& to_index, base::Progress& progress, std::stop_token stop)
      : from_(from),
        from_index_(from_index),
        needs_(needs),
        progress_(progress),
        stop_(std::move(stop)),
        store_(to, to_index,
               {.upload_threads = std::clamp(to.storage.requests_at_once(), 1, kMostUploads)}),
        new_ids_(from_index.slots().size()) {}

  BackupRecord run(int workers) {
    plan();
    store_data(std::clamp(workers, 1, kMostWriters));
    BackupRecord record = *needs_.record;
    store_file_table(record);
    record.indexes = store_.finish();
    return record;
  }

 private:
  // Chunks of the metadata class are the file table and its extents: those are made anew.
  void plan() {
    std::uint64_t bytes = 0;
    for (std::uint32_t slot = 0; slot < needs_.slots.size(); ++slot) {
      if (!needs_.needs(slot) || pack_of(slot).pack_class != PackClass::kData) continue;
      slots_.push_back(slot);
      bytes += from_index_.slots()[slot].location.length;
    }
    std::sort(slots_.begin(), slots_.end(), [&](std::uint32_t a, std::uint32_t b) {
      const ChunkLocation& x = from_index_.slots()[a].location;
      const ChunkLocation& y = from_index_.slots()[b].location;
      return std::pair(x.pack, x.number) < std::pair(y.pack, y.number);
    });
    progress_.phase("copying", bytes);
  }

  const PackEntry& pack_of(std::uint32_t slot) const {
    return from_index_.pack(from_index_.slots()[slot].location.pack);
  }

  // The chunks of the pack that begins at `first` in slots_.
  std::span<const std::uint32_t> stretch_at(std::size_t first) const {
    const auto pack = [&](std::size_t i) { return from_index_.slots()[slots_[i]].location.pack; };
    std::size_t end = first;
    while (end < slots_.size() && pack(end) == pack(first)) ++end;
    return std::span(slots_).subspan(first, end - first);
  }

  void store_data(int workers) {
    std::vector<std::span<const std::uint32_t>> packs;
    for (std::size_t i = 0; i < slots_.size(); i += packs.back().size()) {
      packs.push_back(stretch_at(i));
    }
    std::atomic<std::size_t> next = 0;
    base::Guarded<std::exception_ptr> cause;
    base::WorkerGroup group(stop_);
    for (int i = 0; i < workers; ++i) {
      group.start([&](const std::stop_token& stopped) {
        const auto writer = store_.new_writer();
        try {
          ChunkReader reader(from_, from_index_);
          for (std::size_t n = next++; n < packs.size(); n = next++) {
            store_pack(packs[n], reader, *writer, stopped);
          }
          writer->finish();
        } catch (...) {
          // Before the writer ends unfinished, which fails the others too.
          auto first = cause.lock();
          if (!*first) *first = std::current_exception();
          throw;
        }
      });
    }
    try {
      group.join();
    } catch (...) {
      if (const std::exception_ptr first = *cause.lock()) std::rethrow_exception(first);
      throw;
    }
  }

  void store_pack(std::span<const std::uint32_t> slots, ChunkReader& reader,
                  ChunkStore::Writer& writer, const std::stop_token& stopped) {
    for (const std::uint32_t slot : slots) {
      base::throw_if_stopped(stopped);
      const Index::Slot& chunk = from_index_.slots()[slot];
      new_ids_[slot] = store_chunk(chunk.id, chunk.location, reader, writer);
      progress_.advance(chunk.location.length);
    }
  }

  static ChunkId store_chunk(const ChunkId& id, const ChunkLocation& location, ChunkReader& reader,
                             ChunkStore::Writer& writer) {
    base::Bytes plain(location.length);
    reader.read_and_check_id(id, plain);
    if (location.kind == ChunkKind::kBytes) return writer.put_bytes(plain);
    const std::size_t pages = reader.page_hashes(id).size();
    return writer.put_pages(plain, static_cast<std::uint32_t>(plain.size() / pages));
  }

  void store_file_table(BackupRecord& record) {
    ChunkReader reader(from_, from_index_);
    const auto writer = store_.new_writer();
    std::vector<FileEntry> entries;
    load_file_table(record.file_table, reader, [&](FileEntry&& entry) {
      base::throw_if_stopped(stop_);
      if (entry.type == FileType::kFile) {
        entry.extents = load_extents(entry, reader);
        entry.extent_chunks.clear();
        for (Extent& extent : entry.extents)
          extent.chunk = translate(extent.chunk, reader, *writer);
        store_extents(entry, *writer);
      }
      entries.push_back(std::move(entry));
    });
    record.file_table = repository::store_file_table(entries, *writer);
    writer->finish();
  }

  ChunkId translate(const ChunkId& id, ChunkReader& reader, ChunkStore::Writer& writer) {
    if (id.is_zero_range()) return id;
    const std::optional<std::size_t> slot = from_index_.slot_of(id);
    if (!slot) {
      throw base::Error(base::ErrorKind::kDamaged,
                        fmt::format("chunk {} is in no pack", base::to_hex(id.bytes)));
    }
    ChunkId& translated = new_ids_[*slot];
    // Data that equals a piece of metadata stands in its pack.
    if (translated.is_zero_range()) {
      translated = store_chunk(id, from_index_.slots()[*slot].location, reader, writer);
    }
    return translated;
  }

  const Context& from_;
  const Index& from_index_;
  const BackupNeeds& needs_;
  base::Progress& progress_;
  const std::stop_token stop_;
  ChunkStore store_;
  std::vector<std::uint32_t> slots_;  // that are needed, by pack and place in it
  std::vector<ChunkId> new_ids_;      // in the target, by slot
};

}  // namespace

BackupRecord store_anew(const Context& from, const Index& from_index, const BackupNeeds& needs,
                        const Context& to, const Index& to_index, int workers,
                        base::Progress& progress, std::stop_token stop) {
  return AnewRun(from, from_index, needs, to, to_index, progress, std::move(stop)).run(workers);
}

void store_log_anew(const Context& from, const Context& to, const std::string& name, int workers) {
  base::Bytes content;
  const auto info = read_log(
      from, name,
      [&](base::ByteView piece) { content.insert(content.end(), piece.begin(), piece.end()); },
      LogCheck::kDigest);
  if (!info) {
    throw base::Error(base::ErrorKind::kDamaged,
                      fmt::format("{} is missing in {}", name, from.storage.describe()));
  }
  const FixedClock clock(info->archived);
  const Context then{to.storage, to.keyring, clock, to.random, to.compression_level};
  const LogPut put = info->inline_content.empty()
                         ? put_log(then, name, content, info->sections, workers)
                         : put_inline_log(then, name, content, info->sections);
  if (put != LogPut::kDifferent) return;
  throw base::Error(base::ErrorKind::kRefused,
                    fmt::format("{} holds {} with other content", to.storage.describe(), name),
                    "Two servers with the same system identifier archive there: copy to a "
                    "repository of its own.");
}

}  // namespace holdfast::repository
