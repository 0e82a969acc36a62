#include "postgres/restore_files.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <span>
#include <unordered_map>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/file.h"
#include "postgres/crc32c.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using repository::Context;
using repository::Extent;
using repository::FileEntry;

// What a worker puts together in memory and writes at once. Large writes past the page cache come
// near to what the disk can do; many small ones do not.
constexpr std::uint64_t kStretchBytes = 4 * 1024 * 1024;
constexpr std::size_t kLargestChunk = 4 * 1024 * 1024;
constexpr std::size_t kBufferBytes = kStretchBytes + kLargestChunk;
constexpr std::uint64_t kDirectFromBytes = 1024 * 1024;
constexpr std::uint64_t kDirectUnit = base::AlignedBuffer::kAlignment;

// A part of a file, and the CRC of its bytes once they are written.
struct Stretch {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::vector<Extent> extents;
  std::uint32_t crc = 0;
};

struct FileWork {
  const FileEntry* entry = nullptr;
  fs::path target;
  bool direct = false;  // written past the page cache
  std::vector<Stretch> stretches;
  std::atomic<std::size_t> unfinished{0};  // stretches
  std::uint32_t crc = 0;
};

struct Task {
  FileWork* work = nullptr;
  Stretch* stretch = nullptr;
};

std::vector<Stretch> cut(std::vector<Extent> extents) {
  std::vector<Stretch> stretches;
  std::uint64_t offset = 0;
  for (Extent extent : extents) {
    while (extent.length_bytes > 0) {
      if (stretches.empty() || stretches.back().length >= kStretchBytes) {
        stretches.push_back({offset, 0, {}, 0});
      }
      // Only a range of zeros can be longer than the largest chunk.
      Extent part = extent;
      part.length_bytes = std::min<std::uint64_t>(part.length_bytes, kLargestChunk);
      stretches.back().extents.push_back(part);
      stretches.back().length += part.length_bytes;
      offset += part.length_bytes;
      extent.length_bytes -= part.length_bytes;
    }
  }
  return stretches;
}

bool fits_direct_io(const FileEntry& entry, const std::vector<Stretch>& stretches) {
  return entry.size_bytes >= kDirectFromBytes &&
         std::all_of(stretches.begin(), stretches.end(), [](const Stretch& stretch) {
           return stretch.offset % kDirectUnit == 0 && stretch.length % kDirectUnit == 0;
         });
}

// Creates the files in order and hands out their stretches. Used by one worker at a time.
class TaskSource {
 public:
  TaskSource(const Context& context, const repository::Index& index, std::vector<FileWork>& works)
      : state_(State(context, index, works)) {}

  std::optional<Task> next() { return state_.lock()->next(); }

 private:
  class State {
   public:
    State(const Context& context, const repository::Index& index, std::vector<FileWork>& works)
        : reader_(context, index), works_(works) {}

    std::optional<Task> next() {
      while (at_ < works_.size()) {
        FileWork& work = works_[at_];
        if (stretch_ == 0) open(work);
        if (stretch_ < work.stretches.size()) return Task{&work, &work.stretches[stretch_++]};
        ++at_;
        stretch_ = 0;
      }
      return std::nullopt;
    }

   private:
    void open(FileWork& work) {
      base::with_context([&] { return "while restoring " + work.entry->path; },
                         [&] {
                           work.stretches = cut(repository::load_extents(*work.entry, reader_));
                           work.unfinished = work.stretches.size();
                           work.direct = fits_direct_io(*work.entry, work.stretches);
                           create(work);
                         });
    }

    void create(const FileWork& work) const {
      const base::UniqueFd fd = base::open_file(work.target, O_WRONLY | O_CREAT | O_EXCL, 0600);
      const auto size = static_cast<off_t>(work.entry->size_bytes);
      if (size > 0 && ::ftruncate(fd.get(), size) != 0) {
        throw base::system_error(errno, fmt::format("cannot extend {}", work.target.string()));
      }
      ::fchmod(fd.get(), work.entry->mode & 07777);
      ownership_.apply(work.target, *work.entry);
    }

    repository::ChunkReader reader_;
    std::vector<FileWork>& works_;
    Ownership ownership_;
    std::size_t at_ = 0;
    std::size_t stretch_ = 0;
  };

  base::Guarded<State> state_;
};

class Worker {
 public:
  Worker(const Context& context, const repository::Index& index, base::Progress& progress)
      : reader_(context, index),
        progress_(progress),
        buffer_(kBufferBytes),
        chunk_(kLargestChunk) {}

  void run(TaskSource& source, const std::stop_token& stop) {
    while (const std::optional<Task> task = source.next()) {
      base::throw_if_stopped(stop);
      FileWork& work = *task->work;
      base::with_context([&] { return "while restoring " + work.entry->path; },
                         [&] { write_stretch(work, *task->stretch); });
      progress_.advance(task->stretch->length);
      if (work.unfinished.fetch_sub(1) == 1) finish(work);
    }
  }

 private:
  void write_stretch(const FileWork& work, Stretch& stretch) {
    assemble(stretch);
    const base::ByteView bytes(buffer_.data(), stretch.length);
    stretch.crc = crc32c(0, bytes);
    base::write_at(open_target(work).get(), stretch.offset, bytes, work.target);
    stretch.extents = {};
  }

  // Puts the stretch together in the buffer. A chunk of which several extents take a part is
  // unpacked once, with the first of them.
  void assemble(const Stretch& stretch) {
    places_.clear();
    order_.clear();
    std::size_t place = 0;
    for (const Extent& extent : stretch.extents) {
      const std::size_t rank = places_.try_emplace(extent.chunk, order_.size()).first->second;
      order_.push_back({rank, place, &extent});
      place += extent.length_bytes;
    }
    std::stable_sort(order_.begin(), order_.end(),
                     [](const Part& a, const Part& b) { return a.rank < b.rank; });
    for (std::size_t first = 0; first < order_.size();) {
      std::size_t last = first + 1;
      while (last < order_.size() && order_[last].rank == order_[first].rank) ++last;
      unpack(std::span(order_).subspan(first, last - first));
      first = last;
    }
  }

  struct Part {
    std::size_t rank = 0;   // of its chunk: in the order in which the stretch names them first
    std::size_t place = 0;  // in the buffer
    const Extent* extent = nullptr;
  };

  // The parts of one chunk.
  void unpack(std::span<const Part> parts) {
    const Extent& first = *parts.front().extent;
    if (first.chunk.is_zero_range()) {
      for (const Part& part : parts) {
        std::fill_n(buffer_.data() + part.place, part.extent->length_bytes, std::uint8_t{0});
      }
      return;
    }
    const std::size_t length = reader_.length(first.chunk);
    for (const Part& part : parts) {
      if (part.extent->chunk_offset + part.extent->length_bytes > length) {
        throw base::Error(base::ErrorKind::kDamaged, "an extent reaches beyond its chunk");
      }
    }
    if (parts.size() == 1 && first.length_bytes == length) {
      reader_.read(first.chunk, buffer_.span().subspan(parts.front().place));
      return;
    }
    reader_.read(first.chunk, chunk_.span());
    for (const Part& part : parts) {
      std::copy_n(chunk_.data() + part.extent->chunk_offset, part.extent->length_bytes,
                  buffer_.data() + part.place);
    }
  }

  base::UniqueFd open_target(const FileWork& work) const {
    if (work.direct) {
      const int fd = ::open(work.target.c_str(), O_WRONLY | O_CLOEXEC | O_DIRECT);
      if (fd >= 0) return base::UniqueFd(fd);  // else a file system without it
    }
    return base::open_file(work.target, O_WRONLY);
  }

  static void finish(FileWork& work) {
    for (const Stretch& stretch : work.stretches) {
      work.crc = crc32c_combine(work.crc, stretch.crc, stretch.length);
    }
    const auto since_epoch = work.entry->modified.time_since_epoch();
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
    const timespec modified{static_cast<time_t>(seconds.count()),
                            static_cast<long>((since_epoch - seconds).count() * 1000)};
    const timespec times[2] = {modified, modified};
    ::utimensat(AT_FDCWD, work.target.c_str(), times, 0);  // a courtesy: nothing depends on it
  }

  repository::ChunkReader reader_;
  base::Progress& progress_;
  base::AlignedBuffer buffer_;
  base::AlignedBuffer chunk_;
  std::unordered_map<repository::ChunkId, std::size_t> places_;
  std::vector<Part> order_;
};

}  // namespace

void Ownership::apply(const fs::path& path, const FileEntry& entry) const {
  if (::geteuid() != 0) return;
  uid_t uid = entry.uid;
  gid_t gid = entry.gid;
  if (const passwd* user = ::getpwnam(entry.owner.c_str())) uid = user->pw_uid;
  if (const ::group* group = ::getgrnam(entry.group.c_str())) gid = group->gr_gid;
  if (::lchown(path.c_str(), uid, gid) != 0) {
    throw base::system_error(errno, fmt::format("cannot give {} its owner", path.string()));
  }
}

std::vector<ManifestFile> restore_files(const Context& context, const repository::Index& index,
                                        const std::vector<FileEntry>& files,
                                        const TargetOf& target_of, int workers,
                                        base::Progress& progress, std::stop_token stop) {
  std::vector<FileWork> works(files.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    works[i].entry = &files[i];
    works[i].target = target_of(files[i]);
  }
  TaskSource source(context, index, works);
  base::WorkerGroup group(stop);
  for (int i = 0; i < workers; ++i) {
    group.start(
        [&](std::stop_token stopped) { Worker(context, index, progress).run(source, stopped); });
  }
  group.join();

  std::vector<ManifestFile> manifest;
  manifest.reserve(works.size());
  for (const FileWork& work : works) {
    manifest.push_back({work.entry->path, work.entry->size_bytes, work.entry->modified, work.crc});
  }
  return manifest;
}

base::Bytes read_small_file(const FileEntry& file, repository::ChunkReader& reader) {
  base::Bytes content;
  for (const Extent& extent : repository::load_extents(file, reader)) {
    if (extent.chunk.is_zero_range()) {
      content.resize(content.size() + extent.length_bytes);
      continue;
    }
    const base::Bytes chunk = reader.read(extent.chunk);
    if (extent.chunk_offset + extent.length_bytes > chunk.size()) {
      throw base::Error(base::ErrorKind::kDamaged,
                        fmt::format("{}: an extent reaches beyond its chunk", file.path));
    }
    const auto begin = chunk.begin() + extent.chunk_offset;
    content.insert(content.end(), begin, begin + static_cast<std::ptrdiff_t>(extent.length_bytes));
  }
  return content;
}

}  // namespace holdfast::postgres
