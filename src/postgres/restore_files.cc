#include "postgres/restore_files.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>

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

constexpr std::uint64_t kStretchBytes = 8 * 1024 * 1024;
constexpr std::uint64_t kDirectFromBytes = 1024 * 1024;
constexpr std::size_t kLargestChunk = 4 * 1024 * 1024;
constexpr std::uint64_t kDirectUnit = base::AlignedBuffer::kAlignment;

// An extent with its place in the file, and the CRC of its bytes once they are written.
struct Piece {
  Extent extent;
  std::uint64_t offset = 0;
  std::uint32_t crc = 0;
};

struct FileWork {
  const FileEntry* entry = nullptr;
  fs::path target;
  bool direct = false;  // written past the page cache
  std::vector<Piece> pieces;
  std::atomic<std::size_t> unfinished{0};  // pieces
  std::uint32_t crc = 0;
};

struct Stretch {
  FileWork* work = nullptr;
  std::size_t first = 0;  // of the pieces
  std::size_t last = 0;   // one behind
};

bool fits_direct_io(const FileEntry& entry, const std::vector<Piece>& pieces) {
  if (entry.size_bytes < kDirectFromBytes || entry.size_bytes % kDirectUnit != 0) return false;
  return std::all_of(pieces.begin(), pieces.end(), [](const Piece& piece) {
    return piece.offset % kDirectUnit == 0 && piece.extent.length_bytes % kDirectUnit == 0 &&
           piece.extent.chunk_offset % kDirectUnit == 0;
  });
}

// Creates the files in order and cuts them into stretches. Used by one worker at a time.
class StretchSource {
 public:
  StretchSource(const Context& context, const repository::Index& index,
                std::vector<FileWork>& works)
      : state_(State(context, index, works)) {}

  std::optional<Stretch> next() { return state_.lock()->next(); }

 private:
  class State {
   public:
    State(const Context& context, const repository::Index& index, std::vector<FileWork>& works)
        : reader_(context, index), works_(works) {}

    std::optional<Stretch> next() {
      while (at_ < works_.size()) {
        FileWork& work = works_[at_];
        if (piece_ == 0) open(work);
        if (piece_ < work.pieces.size()) return cut(work);
        finish_empty(work);
        ++at_;
        piece_ = 0;
      }
      return std::nullopt;
    }

   private:
    Stretch cut(FileWork& work) {
      Stretch stretch{&work, piece_, piece_};
      std::uint64_t bytes = 0;
      while (stretch.last < work.pieces.size() && bytes < kStretchBytes) {
        bytes += work.pieces[stretch.last++].extent.length_bytes;
      }
      piece_ = stretch.last;
      if (piece_ == work.pieces.size()) {
        ++at_;
        piece_ = 0;
      }
      return stretch;
    }

    void open(FileWork& work) {
      base::with_context(
          [&] { return "while restoring " + work.entry->path; },
          [&] {
            std::uint64_t offset = 0;
            for (const Extent& extent : repository::load_extents(*work.entry, reader_)) {
              work.pieces.push_back({extent, offset, 0});
              offset += extent.length_bytes;
            }
            work.unfinished = work.pieces.size();
            work.direct = fits_direct_io(*work.entry, work.pieces);
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

    static void finish_empty(const FileWork& work) {
      if (work.entry->size_bytes != 0) {
        throw base::Error(base::ErrorKind::kDamaged,
                          fmt::format("{} has a size and no content", work.entry->path));
      }
    }

    repository::ChunkReader reader_;
    std::vector<FileWork>& works_;
    Ownership ownership_;
    std::size_t at_ = 0;
    std::size_t piece_ = 0;
  };

  base::Guarded<State> state_;
};

class Worker {
 public:
  Worker(const Context& context, const repository::Index& index, base::Progress& progress)
      : reader_(context, index), progress_(progress), buffer_(kLargestChunk) {}

  void run(StretchSource& source, const std::stop_token& stop) {
    while (const std::optional<Stretch> stretch = source.next()) {
      base::throw_if_stopped(stop);
      base::with_context([&] { return "while restoring " + stretch->work->entry->path; },
                         [&] { write_stretch(*stretch); });
    }
  }

 private:
  void write_stretch(const Stretch& stretch) {
    FileWork& work = *stretch.work;
    order_.clear();
    for (std::size_t i = stretch.first; i < stretch.last; ++i) order_.push_back(&work.pieces[i]);
    // By chunk, so that each is unpacked once; chunks in the order in which the file names them
    // first.
    std::stable_sort(order_.begin(), order_.end(), [](const Piece* a, const Piece* b) {
      return a->extent.chunk < b->extent.chunk;
    });
    const base::UniqueFd fd = open_target(work);
    const repository::ChunkId* loaded = nullptr;
    std::size_t length = 0;
    for (Piece* piece : order_) {
      const Extent& extent = piece->extent;
      if (extent.chunk.is_zero_range()) {
        piece->crc = crc32c_of_zeros(extent.length_bytes);  // the file is a hole there already
      } else {
        if (loaded == nullptr || *loaded != extent.chunk) {
          length = reader_.read(extent.chunk, buffer_.span());
          loaded = &extent.chunk;
        }
        write_piece(work, fd.get(), *piece, length);
      }
      progress_.advance(extent.length_bytes);
    }
    const std::size_t done = stretch.last - stretch.first;
    if (work.unfinished.fetch_sub(done) == done) finish(work);
  }

  base::UniqueFd open_target(FileWork& work) const {
    if (work.direct) {
      const int fd = ::open(work.target.c_str(), O_WRONLY | O_CLOEXEC | O_DIRECT);
      if (fd >= 0) return base::UniqueFd(fd);
    }
    return base::open_file(work.target, O_WRONLY);
  }

  void write_piece(const FileWork& work, int fd, Piece& piece, std::size_t chunk_length) {
    const Extent& extent = piece.extent;
    if (extent.chunk_offset + extent.length_bytes > chunk_length) {
      throw base::Error(base::ErrorKind::kDamaged, "an extent reaches beyond its chunk");
    }
    const base::ByteView bytes(buffer_.data() + extent.chunk_offset, extent.length_bytes);
    piece.crc = crc32c(0, bytes);
    base::write_at(fd, piece.offset, bytes, work.target);
  }

  static void finish(FileWork& work) {
    for (const Piece& piece : work.pieces) {
      work.crc = crc32c_combine(work.crc, piece.crc, piece.extent.length_bytes);
    }
    work.pieces = {};
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
  std::vector<Piece*> order_;
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
  StretchSource source(context, index, works);
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
