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

#include "base/concurrency.h"
#include "base/error.h"
#include "base/file.h"
#include "postgres/crc32c.h"
#include "postgres/part_comparer.h"
#include "postgres/part_reader.h"

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
// Of a scattered file a worker takes so many stretches in a row: the next one needs much of what it
// has just unpacked.
constexpr std::size_t kScatteredRun = 16;
// Where the storage is far away, some wait while others work.
constexpr int kLeastWorkersFarAway = 4;

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
  bool direct = false;            // written past the page cache
  std::uint64_t there_bytes = 0;  // so many stood there before: to be compared
  std::size_t run = 1;            // stretches that one worker takes at a time
  std::vector<Stretch> stretches;
  std::atomic<std::size_t> unfinished{0};  // stretches
  std::uint32_t crc = 0;
};

struct Task {
  FileWork* work = nullptr;
  std::span<Stretch> stretches;
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

bool is_scattered(const std::vector<Extent>& extents) {
  return std::any_of(extents.begin(), extents.end(),
                     [](const Extent& extent) { return extent.chunk_offset != 0; });
}

// Opens the files in order and hands out their stretches. Used by one worker at a time.
class TaskSource {
 public:
  TaskSource(const Context& context, const repository::Index& index, std::vector<FileWork>& works,
             bool over)
      : state_(State(context, index, works, over)) {}

  std::optional<Task> next() { return state_.lock()->next(); }

 private:
  class State {
   public:
    State(const Context& context, const repository::Index& index, std::vector<FileWork>& works,
          bool over)
        : reader_(context, index), works_(works), over_(over) {}

    std::optional<Task> next() {
      while (at_ < works_.size()) {
        FileWork& work = works_[at_];
        if (stretch_ == 0) open(work);
        if (stretch_ < work.stretches.size()) {
          const std::size_t count = std::min(work.run, work.stretches.size() - stretch_);
          const std::size_t first = std::exchange(stretch_, stretch_ + count);
          return Task{&work, std::span(work.stretches).subspan(first, count)};
        }
        ++at_;
        stretch_ = 0;
      }
      return std::nullopt;
    }

   private:
    void open(FileWork& work) {
      base::with_context([&] { return "while restoring " + work.entry->path; },
                         [&] {
                           const auto extents = repository::load_extents(*work.entry, reader_);
                           if (is_scattered(extents)) work.run = kScatteredRun;
                           work.stretches = cut(extents);
                           work.unfinished = work.stretches.size();
                           work.direct = fits_direct_io(*work.entry, work.stretches);
                           if (!over_ || !take(work)) create(work);
                         });
    }

    // The file that is there, with its new size; false if none is. One that we may not write to
    // goes.
    bool take(FileWork& work) const {
      const base::UniqueFd fd(::open(work.target.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
      struct stat status {};
      if (!fd || ::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
        if (::unlink(work.target.c_str()) != 0 && errno != ENOENT) {
          throw base::system_error(errno, fmt::format("cannot remove {}", work.target.string()));
        }
        return false;
      }
      work.there_bytes = static_cast<std::uint64_t>(status.st_size);
      if (work.there_bytes != work.entry->size_bytes) resize(fd, work);
      set_rights(fd, work);
      return true;
    }

    void create(const FileWork& work) const {
      const base::UniqueFd fd = base::open_file(work.target, O_WRONLY | O_CREAT | O_EXCL, 0600);
      if (work.entry->size_bytes > 0) resize(fd, work);
      set_rights(fd, work);
    }

    static void resize(const base::UniqueFd& fd, const FileWork& work) {
      if (::ftruncate(fd.get(), static_cast<off_t>(work.entry->size_bytes)) != 0) {
        throw base::system_error(errno, fmt::format("cannot resize {}", work.target.string()));
      }
    }

    void set_rights(const base::UniqueFd& fd, const FileWork& work) const {
      ::fchmod(fd.get(), work.entry->mode & 07777);
      ownership_.apply(work.target, *work.entry);
    }

    repository::ChunkReader reader_;
    std::vector<FileWork>& works_;
    const bool over_;
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
        parts_reader_(reader_),
        comparer_(context, index, reader_),
        progress_(progress),
        buffer_(kBufferBytes) {}

  // Returns the bytes that were written.
  std::uint64_t run(TaskSource& source, const std::stop_token& stop) {
    while (const std::optional<Task> task = source.next()) {
      FileWork& work = *task->work;
      for (Stretch& stretch : task->stretches) {
        base::throw_if_stopped(stop);
        base::with_context([&] { return "while restoring " + work.entry->path; },
                           [&] { restore(work, stretch); });
        progress_.advance(stretch.length);
        if (work.unfinished.fetch_sub(1) == 1) finish(work);
      }
    }
    return bytes_written_;
  }

 private:
  void restore(const FileWork& work, Stretch& stretch) {
    parts_.clear();
    std::size_t place = 0;
    for (const Extent& extent : stretch.extents) {
      parts_.push_back({place, extent});
      place += extent.length_bytes;
    }
    if (stretch.offset < work.there_bytes) {
      mend(work, stretch);
    } else {
      fill(work, stretch);
    }
    stretch.crc = crc32c(0, content(stretch));
    stretch.extents = {};
  }

  base::MutableByteView content(const Stretch& stretch) {
    return buffer_.span().first(stretch.length);
  }

  void fill(const FileWork& work, const Stretch& stretch) {
    parts_reader_.read(parts_, buffer_.span());
    write(open_target(work), work, stretch.offset, content(stretch));
  }

  // Compares what is there, and writes what differs.
  void mend(const FileWork& work, const Stretch& stretch) {
    const base::UniqueFd fd = base::open_file(work.target, O_RDWR | O_NOFOLLOW);
    if (base::read_at(fd.get(), stretch.offset, content(stretch), work.target) != stretch.length) {
      throw base::Error(base::ErrorKind::kFailed,
                        fmt::format("{} became shorter meanwhile", work.target.string()));
    }
    const std::vector<Part> differing = comparer_.differing(parts_, content(stretch));
    parts_reader_.read(differing, buffer_.span());
    for (std::size_t at = 0; at < differing.size();) {
      const std::size_t begin = differing[at].place;
      std::size_t end = begin;
      for (; at < differing.size() && differing[at].place == end; ++at) {
        end += differing[at].extent.length_bytes;
      }
      write(fd, work, stretch.offset + begin, content(stretch).subspan(begin, end - begin));
    }
  }

  void write(const base::UniqueFd& fd, const FileWork& work, std::uint64_t offset,
             base::ByteView bytes) {
    base::write_at(fd.get(), offset, bytes, work.target);
    bytes_written_ += bytes.size();
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
  PartReader parts_reader_;
  PartComparer comparer_;
  base::Progress& progress_;
  base::AlignedBuffer buffer_;
  std::vector<Part> parts_;  // of the stretch at hand, by its place in the buffer
  std::uint64_t bytes_written_ = 0;
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

RestoredFiles restore_files(const Context& context, const repository::Index& index,
                            const FilesToRestore& request, base::Progress& progress,
                            std::stop_token stop) {
  std::vector<FileWork> works(request.files.size());
  for (std::size_t i = 0; i < works.size(); ++i) {
    works[i].entry = &request.files[i];
    works[i].target = request.target_of(request.files[i]);
  }
  TaskSource source(context, index, works, request.over);
  std::atomic<std::uint64_t> bytes_written = 0;
  base::WorkerGroup group(stop);
  const int workers = context.storage.requests_at_once() > 1
                          ? std::max(request.workers, kLeastWorkersFarAway)
                          : request.workers;
  for (int i = 0; i < workers; ++i) {
    group.start([&](std::stop_token stopped) {
      bytes_written += Worker(context, index, progress).run(source, stopped);
    });
  }
  group.join();

  RestoredFiles result{{}, bytes_written};
  result.manifest.reserve(works.size());
  for (const FileWork& work : works) {
    result.manifest.push_back(
        {work.entry->path, work.entry->size_bytes, work.entry->modified, work.crc});
  }
  return result;
}

}  // namespace holdfast::postgres
