#include "postgres/cluster_reader.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <atomic>
#include <memory>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/file.h"
#include "postgres/page_places.h"

namespace holdfast::postgres {
namespace {

using base::ByteView;
using base::MutableByteView;
using repository::ChunkId;
using repository::FileEntry;
using repository::FileType;

constexpr std::size_t kPlainChunkBytes = 512 * 1024;
constexpr std::uint64_t kStretchBytes = 4 * 1024 * 1024;

// A file while its stretches are read by several workers.
struct FileWork {
  const ClusterFile* file = nullptr;
  std::size_t chunk_bytes = 0;
  std::vector<ChunkId> chunks;              // one place for each chunk of the listed size
  std::atomic<std::uint64_t> end{0};        // how far the file went
  std::atomic<std::uint32_t> stretches{0};  // not yet read
  std::atomic<bool> vanished{false};
  FileEntry entry;
};

struct Stretch {
  FileWork* work = nullptr;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

std::vector<repository::Extent> extents_of(const FileWork& work) {
  std::vector<repository::Extent> extents;
  const std::uint64_t end = work.end;
  for (std::uint64_t offset = 0; offset < end; offset += work.chunk_bytes) {
    repository::Extent extent;
    extent.length_bytes = std::min<std::uint64_t>(work.chunk_bytes, end - offset);
    extent.chunk = work.chunks[offset / work.chunk_bytes];
    extents.push_back(extent);
  }
  return extents;
}

void lower_to(std::atomic<std::uint64_t>& value, std::uint64_t bound) {
  std::uint64_t seen = value;
  while (seen > bound && !value.compare_exchange_weak(seen, bound)) {
  }
}

// Hands out stretches in the order of the files, opening the account of each file as it comes to
// it.
class StretchSource {
 public:
  StretchSource(const ClusterInfo& cluster, std::vector<FileWork>& works)
      : state_(State{cluster, works}) {}

  std::optional<Stretch> next() { return state_.lock()->next(); }

 private:
  struct State {
    const ClusterInfo& cluster;
    std::vector<FileWork>& works;
    std::size_t at = 0;
    std::uint64_t offset = 0;

    std::optional<Stretch> next() {
      while (at < works.size()) {
        FileWork& work = works[at];
        if (work.file->type != FileType::kFile) {
          ++at;
          continue;
        }
        const std::uint64_t size = work.file->size_bytes;
        if (offset == 0) open(work);
        Stretch stretch{&work, offset, std::min(kStretchBytes, size - offset)};
        offset += stretch.length;
        if (offset == size) {
          offset = 0;
          ++at;
        }
        return stretch;
      }
      return std::nullopt;
    }

    void open(FileWork& work) const {
      const std::uint64_t size = work.file->size_bytes;
      work.chunk_bytes =
          work.file->is_relation ? std::size_t{kChunkPages} * cluster.block_size : kPlainChunkBytes;
      work.chunks.resize((size + work.chunk_bytes - 1) / work.chunk_bytes);
      work.end = size;
      const std::uint64_t stretches =
          std::max<std::uint64_t>(1, (size + kStretchBytes - 1) / kStretchBytes);
      work.stretches = static_cast<std::uint32_t>(stretches);
    }
  };

  base::Guarded<State> state_;
};

class Worker {
 public:
  Worker(const ClusterInfo& cluster, repository::ChunkStore& store,
         base::Guarded<std::vector<BadPage>>& bad_pages, base::Throttle& throttle,
         base::Progress& progress)
      : cluster_(cluster),
        writer_(store.new_writer()),
        verifier_(cluster, bad_pages),
        throttle_(throttle),
        progress_(progress),
        buffer_(std::max<std::size_t>(kPlainChunkBytes,
                                      kChunkPages * std::size_t{cluster.block_size})) {}

  void run(StretchSource& source, const std::stop_token& stop) {
    while (const std::optional<Stretch> stretch = source.next()) {
      base::throw_if_stopped(stop);
      throttle_.take(stretch->length, stop);
      FileWork& work = *stretch->work;
      base::with_context([&] { return fmt::format("while reading {}", work.file->path); },
                         [&] { read_stretch(*stretch); });
      if (work.stretches.fetch_sub(1) == 1) finish_file(work);
    }
    writer_->finish();
  }

 private:
  void read_stretch(const Stretch& stretch) {
    FileWork& work = *stretch.work;
    if (open_ != &work) {
      std::optional<base::UniqueFd> fd = base::open_if_exists(work.file->source, O_RDONLY);
      if (!fd) {
        work.vanished = true;
        return;
      }
      fd_ = std::move(*fd);
      open_ = &work;
    }
    ::posix_fadvise(fd_.get(), static_cast<off_t>(stretch.offset),
                    static_cast<off_t>(stretch.length), POSIX_FADV_WILLNEED);
    const std::uint64_t end = stretch.offset + stretch.length;
    for (std::uint64_t offset = stretch.offset; offset < end; offset += work.chunk_bytes) {
      const std::size_t wanted =
          static_cast<std::size_t>(std::min<std::uint64_t>(work.chunk_bytes, end - offset));
      if (!store_chunk(work, offset, wanted)) return;
    }
  }

  // False where the file ended before `wanted` bytes.
  bool store_chunk(FileWork& work, std::uint64_t offset, std::size_t wanted) {
    MutableByteView chunk = buffer_.span().first(wanted);
    std::size_t got = base::read_at(fd_.get(), offset, chunk, work.file->source);
    if (work.file->is_relation) got -= got % cluster_.block_size;
    if (got < wanted) lower_to(work.end, offset + got);
    if (got > 0) {
      chunk = chunk.first(got);
      ChunkId& id = work.chunks[offset / work.chunk_bytes];
      if (work.file->is_relation) {
        verifier_.verify(*work.file, fd_.get(), offset, chunk);
        id = writer_->put_pages(chunk, cluster_.block_size);
      } else {
        id = writer_->put_bytes(chunk);
      }
      progress_.advance(got);
    }
    return got == wanted;
  }

  void finish_file(FileWork& work) {
    work.entry.size_bytes = work.end;
    work.entry.extents = extents_of(work);
    work.chunks = {};
    repository::store_extents(work.entry, *writer_);
  }

  const ClusterInfo& cluster_;
  std::unique_ptr<repository::ChunkStore::Writer> writer_;
  PageVerifier verifier_;
  base::Throttle& throttle_;
  base::Progress& progress_;
  base::AlignedBuffer buffer_;
  base::UniqueFd fd_;
  const FileWork* open_ = nullptr;
};

}  // namespace

void StoredFiles::add(FileEntry entry) {
  bytes += entry.size_bytes;
  if (entry.type == FileType::kFile) ++files;
  entries.push_back(std::move(entry));
}

void FileOwners::name(FileEntry& entry) {
  const auto [user, is_new_user] = users_.try_emplace(entry.uid);
  if (is_new_user) {
    if (const passwd* known = ::getpwuid(entry.uid)) user->second = known->pw_name;
  }
  const auto [group, is_new_group] = groups_.try_emplace(entry.gid);
  if (is_new_group) {
    if (const ::group* known = ::getgrgid(entry.gid)) group->second = known->gr_name;
  }
  entry.owner = user->second;
  entry.group = group->second;
}

FileEntry entry_of(const ClusterFile& file, FileOwners& owners) {
  FileEntry entry;
  entry.path = file.path;
  entry.type = file.type;
  entry.mode = file.mode;
  entry.uid = file.uid;
  entry.gid = file.gid;
  owners.name(entry);
  entry.modified = file.modified;
  entry.link_target = file.link_target;
  return entry;
}

StoredFiles store_cluster_files(const ClusterInfo& cluster, const std::vector<ClusterFile>& files,
                                repository::ChunkStore& store, const ReadingLimits& limits,
                                base::Progress& progress, std::stop_token stop) {
  FileOwners owners;
  std::vector<FileWork> works(files.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    works[i].file = &files[i];
    works[i].entry = entry_of(files[i], owners);
  }
  StretchSource source(cluster, works);
  base::Guarded<std::vector<BadPage>> bad_pages;
  base::WorkerGroup group(stop);
  for (int i = 0; i < limits.workers; ++i) {
    group.start([&](std::stop_token stopped) {
      Worker(cluster, store, bad_pages, limits.throttle, progress).run(source, stopped);
    });
  }
  group.join();

  StoredFiles stored;
  stored.bad_pages = std::move(*bad_pages.lock());
  for (FileWork& work : works) {
    if (work.vanished) continue;
    stored.bytes_read += work.entry.size_bytes;
    stored.add(std::move(work.entry));
  }
  return stored;
}

FileEntry store_small_file(const ClusterFile& file, ByteView content,
                           repository::ChunkStore::Writer& writer) {
  FileOwners owners;
  FileEntry entry = entry_of(file, owners);
  entry.size_bytes = content.size();
  for (std::size_t offset = 0; offset < content.size(); offset += kPlainChunkBytes) {
    const ByteView part =
        content.subspan(offset, std::min(kPlainChunkBytes, content.size() - offset));
    entry.extents.push_back({part.size(), writer.put_bytes(part), 0});
  }
  return entry;
}

}  // namespace holdfast::postgres
