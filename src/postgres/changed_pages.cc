#include "postgres/changed_pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <memory>
#include <span>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/file.h"
#include "repository/chunk_reader.h"

namespace holdfast::postgres {
namespace {

using base::MutableByteView;
using repository::ChunkId;
using repository::FileEntry;

constexpr std::uint64_t kPageGap = 2;  // as many unwanted pages cost less to read than another call

// Pages that become one chunk.
struct Batch {
  std::span<const std::uint32_t> pages;
  ChunkId chunk;
  std::size_t stored = 0;  // fewer where the file has become shorter
};

struct FileWork {
  PartialFile* partial = nullptr;
  FileEntry entry;
  PagePlaces places;
  std::vector<Batch> batches;
  std::atomic<std::size_t> unfinished{0};  // batches
  std::atomic<std::uint32_t> pages{0};     // how many the file has
  std::atomic<bool> vanished{false};
};

struct Task {
  FileWork* work = nullptr;
  Batch* batch = nullptr;
};

// `pages` lie in the `size` pages from `first` on, a power of two. Halved until each part fits into
// a chunk: so a group that is taken whole becomes the chunk that it is in a full backup, and a page
// that is taken or not moves no other part (a run that was killed finds its chunks again).
void cut(std::span<const std::uint32_t> pages, std::uint32_t first, std::uint32_t size,
         std::vector<Batch>& batches) {
  if (pages.empty()) return;
  if (pages.size() <= kChunkPages) {
    batches.push_back({pages, {}, 0});
    return;
  }
  const std::uint32_t middle = first + size / 2;
  const auto split = std::lower_bound(pages.begin(), pages.end(), middle);
  const auto before = static_cast<std::size_t>(split - pages.begin());
  cut(pages.first(before), first, size / 2, batches);
  cut(pages.subspan(before), middle, size / 2, batches);
}

// Opens the files in order and hands out their batches. Used by one worker at a time.
class BatchSource {
 public:
  BatchSource(const repository::Context& context, const repository::Index& index,
              std::uint32_t page_size, std::vector<std::unique_ptr<FileWork>>& works)
      : state_(State(context, index, page_size, works)) {}

  std::optional<Task> next() { return state_.lock()->next(); }

 private:
  class State {
   public:
    State(const repository::Context& context, const repository::Index& index,
          std::uint32_t page_size, std::vector<std::unique_ptr<FileWork>>& works)
        : reader_(context, index), page_size_(page_size), works_(works) {}

    std::optional<Task> next() {
      if (at_ < works_.size()) {
        FileWork& work = *works_[at_];
        if (batch_ == 0) open(work);
        const Task task{&work, &work.batches[batch_]};
        if (++batch_ == work.batches.size()) {  // whoever has the last one finishes the file
          ++at_;
          batch_ = 0;
        }
        return task;
      }
      return std::nullopt;
    }

   private:
    void open(FileWork& work) {
      PartialFile& partial = *work.partial;
      const auto pages = static_cast<std::uint32_t>(partial.file->size_bytes / page_size_);
      auto places = PagePlaces::of(repository::load_extents(partial.before, reader_), page_size_);
      if (!places) {
        throw base::Error(
            base::ErrorKind::kDamaged,
            fmt::format("{}: its extents are not of whole pages", partial.before.path));
      }
      const ChunkPages chunk_pages = [this](const ChunkId& chunk) {
        return reader_.find_length(chunk).value_or(0) / page_size_;
      };
      add_scattered_pages(*places, chunk_pages, pages, partial.taken);
      work.places = std::move(*places);
      work.places.resize(pages);
      work.pages = pages;
      cut(partial.taken, 0, std::bit_ceil(pages), work.batches);
      if (work.batches.empty()) work.batches.resize(1);  // the file has only become shorter
      work.unfinished = work.batches.size();
    }

    repository::ChunkReader reader_;
    std::uint32_t page_size_;
    std::vector<std::unique_ptr<FileWork>>& works_;
    std::size_t at_ = 0;
    std::size_t batch_ = 0;
  };

  base::Guarded<State> state_;
};

void lower_to(std::atomic<std::uint32_t>& value, std::uint32_t bound) {
  std::uint32_t seen = value;
  while (seen > bound && !value.compare_exchange_weak(seen, bound)) {
  }
}

class Worker {
 public:
  Worker(const ClusterInfo& cluster, repository::ChunkStore& store,
         base::Guarded<std::vector<BadPage>>& bad_pages, base::Throttle& throttle,
         base::Progress& progress)
      : page_size_(cluster.block_size),
        writer_(store.new_writer()),
        verifier_(cluster, bad_pages),
        throttle_(throttle),
        progress_(progress),
        chunk_(kChunkPages * page_size_),
        run_(kRunPages * page_size_) {}

  void run(BatchSource& source, const std::stop_token& stop) {
    while (const std::optional<Task> task = source.next()) {
      base::throw_if_stopped(stop);
      FileWork& work = *task->work;
      throttle_.take(task->batch->pages.size() * page_size_, stop);
      base::with_context([&] { return fmt::format("while reading {}", work.entry.path); },
                         [&] { store_batch(work, *task->batch); });
      if (work.unfinished.fetch_sub(1) == 1) finish_file(work);
    }
    writer_->finish();
  }

 private:
  static constexpr std::size_t kRunPages = kChunkPages * (kPageGap + 1);

  void store_batch(FileWork& work, Batch& batch) {
    if (!open(work)) return;
    find_runs(batch.pages);
    for (const auto& run : runs_) ask_for(run);
    for (const auto& run : runs_) {
      const std::size_t got = read_run(work, run, batch.stored);
      batch.stored += got;
      if (got < run.size()) break;
    }
    if (batch.stored == 0) return;
    const MutableByteView chunk = chunk_.span().first(batch.stored * page_size_);
    batch.chunk = writer_->put_pages(chunk, static_cast<std::uint32_t>(page_size_));
    progress_.advance(chunk.size());
  }

  void find_runs(std::span<const std::uint32_t> pages) {
    runs_.clear();
    for (std::size_t first = 0; first < pages.size();) {
      std::size_t end = first + 1;
      while (end < pages.size() && pages[end] - pages[end - 1] <= kPageGap + 1) ++end;
      runs_.push_back(pages.subspan(first, end - first));
      first = end;
    }
  }

  // So that the disk works on all runs of a batch at once.
  void ask_for(std::span<const std::uint32_t> pages) const {
    ::posix_fadvise(fd_.get(), static_cast<off_t>(pages.front() * page_size_),
                    static_cast<off_t>((pages.back() - pages.front() + 1) * page_size_),
                    POSIX_FADV_WILLNEED);
  }

  // Reads the pages to the place of page `place` in the chunk; returns how many are there.
  std::size_t read_run(FileWork& work, std::span<const std::uint32_t> pages, std::size_t place) {
    const ClusterFile& file = *work.partial->file;
    const std::size_t wanted = pages.back() - pages.front() + 1;
    const std::uint64_t offset = std::uint64_t{pages.front()} * page_size_;
    const bool is_dense = wanted == pages.size();
    MutableByteView run = is_dense ? chunk_.span().subspan(place * page_size_, wanted * page_size_)
                                   : run_.span().first(wanted * page_size_);
    const std::size_t got = base::read_at(fd_.get(), offset, run, file.source) / page_size_;
    if (got < wanted) {
      lower_to(work.pages, pages.front() + static_cast<std::uint32_t>(got));
    }
    run = run.first(got * page_size_);
    verifier_.verify(file, fd_.get(), offset, run);
    std::size_t taken = 0;
    for (; taken < pages.size() && pages[taken] - pages.front() < got; ++taken) {
      if (is_dense) continue;
      std::copy_n(run.data() + (pages[taken] - pages.front()) * page_size_, page_size_,
                  chunk_.data() + (place + taken) * page_size_);
    }
    return taken;
  }

  bool open(FileWork& work) {
    if (open_ == &work) return true;
    std::optional<base::UniqueFd> fd = base::open_if_exists(work.partial->file->source, O_RDONLY);
    if (!fd) {
      work.vanished = true;
      return false;
    }
    fd_ = std::move(*fd);
    open_ = &work;
    return true;
  }

  void finish_file(FileWork& work) {
    if (work.vanished) return;
    for (const Batch& batch : work.batches) {
      work.places.set(batch.pages.first(batch.stored), batch.chunk);
    }
    work.places.resize(work.pages);
    work.entry.size_bytes = std::uint64_t{work.pages} * page_size_;
    work.entry.extents = work.places.extents(static_cast<std::uint32_t>(page_size_));
    work.places = {};
    work.batches = {};
    repository::store_extents(work.entry, *writer_);
  }

  const std::size_t page_size_;
  std::unique_ptr<repository::ChunkStore::Writer> writer_;
  PageVerifier verifier_;
  base::Throttle& throttle_;
  base::Progress& progress_;
  base::AlignedBuffer chunk_;
  base::AlignedBuffer run_;
  std::vector<std::span<const std::uint32_t>> runs_;
  base::UniqueFd fd_;
  const FileWork* open_ = nullptr;
};

void add_unchanged(const PartialFile& partial, FileEntry entry, StoredFiles& stored) {
  entry.size_bytes = partial.before.size_bytes;
  entry.extents = partial.before.extents;
  entry.extent_chunks = partial.before.extent_chunks;
  stored.add(std::move(entry));
}

}  // namespace

void store_changed_pages(const repository::Context& context, const repository::Index& index,
                         const ClusterInfo& cluster, std::vector<PartialFile>& files,
                         repository::ChunkStore& store, const ReadingLimits& limits,
                         StoredFiles& stored, base::Progress& progress, std::stop_token stop) {
  FileOwners owners;
  std::vector<std::unique_ptr<FileWork>> works;
  for (PartialFile& partial : files) {
    FileEntry entry = entry_of(*partial.file, owners);
    const bool is_cut = partial.file->size_bytes != partial.before.size_bytes;
    if (partial.taken.empty() && !is_cut) {
      add_unchanged(partial, std::move(entry), stored);
      continue;
    }
    works.push_back(std::make_unique<FileWork>());
    works.back()->partial = &partial;
    works.back()->entry = std::move(entry);
  }
  if (works.empty()) return;
  BatchSource source(context, index, cluster.block_size, works);
  base::Guarded<std::vector<BadPage>> bad_pages;
  base::WorkerGroup group(stop);
  for (int i = 0; i < limits.workers; ++i) {
    group.start([&](std::stop_token stopped) {
      Worker(cluster, store, bad_pages, limits.throttle, progress).run(source, stopped);
    });
  }
  group.join();

  for (BadPage& bad : *bad_pages.lock()) stored.bad_pages.push_back(std::move(bad));
  for (std::unique_ptr<FileWork>& work : works) {
    if (work->vanished) continue;
    stored.bytes_read += work->partial->taken.size() * cluster.block_size;
    stored.add(std::move(work->entry));
  }
}

}  // namespace holdfast::postgres
