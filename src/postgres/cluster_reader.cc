#include "postgres/cluster_reader.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <thread>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/file.h"
#include "postgres/page.h"

namespace holdfast::postgres {
namespace {

using base::ByteView;
using base::MutableByteView;
using repository::ChunkId;
using repository::FileEntry;
using repository::FileType;

constexpr std::uint32_t kChunkPages = 128;
constexpr std::size_t kPlainChunkBytes = 512 * 1024;
constexpr std::uint64_t kStretchBytes = 4 * 1024 * 1024;
// A page that the server is just writing is whole within milliseconds.
constexpr std::array<std::chrono::milliseconds, 5> kRereadAfter = {
    std::chrono::milliseconds(0), std::chrono::milliseconds(2), std::chrono::milliseconds(10),
    std::chrono::milliseconds(50), std::chrono::milliseconds(250)};

// Names of users and groups by id, asked of the system once each.
class Names {
 public:
  const std::string& user(std::uint32_t uid) {
    auto [place, is_new] = users_.try_emplace(uid);
    if (is_new) {
      if (const passwd* entry = ::getpwuid(uid)) place->second = entry->pw_name;
    }
    return place->second;
  }
  const std::string& group(std::uint32_t gid) {
    auto [place, is_new] = groups_.try_emplace(gid);
    if (is_new) {
      if (const ::group* entry = ::getgrgid(gid)) place->second = entry->gr_name;
    }
    return place->second;
  }

 private:
  std::map<std::uint32_t, std::string> users_;
  std::map<std::uint32_t, std::string> groups_;
};

FileEntry entry_of(const ClusterFile& file, Names& names) {
  FileEntry entry;
  entry.path = file.path;
  entry.type = file.type;
  entry.mode = file.mode;
  entry.owner = names.user(file.uid);
  entry.uid = file.uid;
  entry.group = names.group(file.gid);
  entry.gid = file.gid;
  entry.modified = file.modified;
  entry.link_target = file.link_target;
  return entry;
}

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
        bad_pages_(bad_pages),
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
        if (cluster_.checksums) check_pages(work, offset, chunk);
        id = writer_->put_pages(chunk, cluster_.block_size);
      } else {
        id = writer_->put_bytes(chunk);
      }
      progress_.advance(got);
    }
    return got == wanted;
  }

  void check_pages(const FileWork& work, std::uint64_t offset, MutableByteView pages) {
    const std::uint32_t first =
        work.file->first_block + static_cast<std::uint32_t>(offset / cluster_.block_size);
    suspects_.clear();
    find_bad_pages(pages, cluster_.block_size, first, suspects_);
    for (const std::uint32_t block : suspects_) {
      const std::uint64_t place = std::uint64_t{block - first} * cluster_.block_size;
      const MutableByteView page = pages.subspan(place, cluster_.block_size);
      if (!becomes_good(work, offset + place, page, block)) {
        bad_pages_.lock()->push_back({work.file->path, block});
      }
    }
  }

  bool becomes_good(const FileWork& work, std::uint64_t offset, MutableByteView page,
                    std::uint32_t block) {
    for (const std::chrono::milliseconds wait : kRereadAfter) {
      std::this_thread::sleep_for(wait);
      const std::size_t got = base::read_at(fd_.get(), offset, page, work.file->source);
      if (got < page.size()) return true;  // cut off meanwhile: the WAL knows
      if (check_page(page, block) != PageState::kBad) return true;
    }
    return false;
  }

  void finish_file(FileWork& work) {
    work.entry.size_bytes = work.end;
    work.entry.extents = extents_of(work);
    work.chunks = {};
    repository::store_extents(work.entry, *writer_);
  }

  const ClusterInfo& cluster_;
  std::unique_ptr<repository::ChunkStore::Writer> writer_;
  base::Guarded<std::vector<BadPage>>& bad_pages_;
  base::Throttle& throttle_;
  base::Progress& progress_;
  base::AlignedBuffer buffer_;
  std::vector<std::uint32_t> suspects_;
  base::UniqueFd fd_;
  const FileWork* open_ = nullptr;
};

}  // namespace

StoredFiles store_cluster_files(const ClusterInfo& cluster, const std::vector<ClusterFile>& files,
                                repository::ChunkStore& store, const ReadingLimits& limits,
                                base::Progress& progress, std::stop_token stop) {
  Names names;
  std::vector<FileWork> works(files.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    works[i].file = &files[i];
    works[i].entry = entry_of(files[i], names);
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
    stored.bytes += work.entry.size_bytes;
    if (work.entry.type == FileType::kFile) ++stored.files;
    stored.entries.push_back(std::move(work.entry));
  }
  return stored;
}

FileEntry store_small_file(const ClusterFile& file, ByteView content,
                           repository::ChunkStore::Writer& writer) {
  Names names;
  FileEntry entry = entry_of(file, names);
  entry.size_bytes = content.size();
  for (std::size_t offset = 0; offset < content.size(); offset += kPlainChunkBytes) {
    const ByteView part =
        content.subspan(offset, std::min(kPlainChunkBytes, content.size() - offset));
    entry.extents.push_back({part.size(), writer.put_bytes(part), 0});
  }
  return entry;
}

}  // namespace holdfast::postgres
