#include "files/file_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/parallel.h"
#include "repository/chunk_hash.h"
#include "repository/content_writer.h"

namespace holdfast::files {
namespace {

using base::ByteView;
using repository::ContentCutter;
using repository::Extent;
using Outcome = FileToRead::Outcome;

// From here on a file is worth the threads of all workers.
constexpr std::uint64_t kLargeBytes = 32 * 1024 * 1024;
constexpr int kReadings = 3;
// What a reading begins with: most chunks end within it.
constexpr std::size_t kFirstRead = 768 * 1024;

struct Stamp {
  std::uint64_t size_bytes = 0;
  timespec modified{};
  timespec changed{};

  explicit Stamp(const struct stat& status)
      : size_bytes(static_cast<std::uint64_t>(status.st_size)),
        modified(status.st_mtim),
        changed(status.st_ctim) {}
  bool operator==(const Stamp& other) const {
    return size_bytes == other.size_bytes && modified.tv_sec == other.modified.tv_sec &&
           modified.tv_nsec == other.modified.tv_nsec && changed.tv_sec == other.changed.tv_sec &&
           changed.tv_nsec == other.changed.tv_nsec;
  }
};

// A file's data, range by range: what is a hole in it is not read.
class DataRanges {
 public:
  DataRanges(int fd, std::uint64_t size_bytes) : fd_(fd), size_bytes_(size_bytes) {}

  // The range of data at or behind `from`, cut to the size that the file had; empty at its end.
  std::pair<std::uint64_t, std::uint64_t> next(std::uint64_t from) const {
    if (from >= size_bytes_) return {size_bytes_, size_bytes_};
    const off_t begin = ::lseek(fd_, static_cast<off_t>(from), SEEK_DATA);
    if (begin < 0) {
      // ENXIO: a hole to the end. Else a file system that does not tell.
      return errno == ENXIO ? std::pair(size_bytes_, size_bytes_) : std::pair(from, size_bytes_);
    }
    const off_t end = ::lseek(fd_, begin, SEEK_HOLE);
    const std::uint64_t until = end < 0 ? size_bytes_ : static_cast<std::uint64_t>(end);
    return {std::min(static_cast<std::uint64_t>(begin), size_bytes_), std::min(until, size_bytes_)};
  }

 private:
  int fd_;
  std::uint64_t size_bytes_;
};

// Where the chunks of one file are cut, in order. Used by one thread at a time.
class Cutting {
 public:
  Cutting(int fd, std::uint64_t size_bytes, bool may_have_holes, const ContentCutter& cutter)
      : fd_(fd), size_bytes_(size_bytes), cutter_(cutter), ranges_(fd, size_bytes) {
    if (!may_have_holes) range_end_ = size_bytes;
  }

  // Reads the next chunk into `buffer` (kMost bytes) and gives its length and the place of its
  // extent; nullopt at the end. Holes are noted on the way. -1: reading failed, with errno.
  struct Piece {
    std::size_t length = 0;
    Extent* extent = nullptr;
  };
  std::optional<Piece> next(base::MutableByteView buffer) {
    if (failed_ != 0) return std::nullopt;
    if (at_ >= range_end_) skip_hole();
    if (at_ >= size_bytes_) return std::nullopt;
    const std::size_t most = std::min<std::uint64_t>(ContentCutter::kMost, range_end_ - at_);
    std::size_t length = 0;
    for (std::size_t wanted = std::min(most, kFirstRead);; wanted = most) {
      const std::size_t there = fill(buffer.first(wanted), length);
      if (failed_ != 0) return std::nullopt;
      const bool is_all = there < wanted || wanted == most;
      length = cutter_.first_chunk(buffer.first(there));
      if (is_all || length < there) break;
      length = there;
    }
    if (length == 0) {  // the file has become shorter
      size_bytes_ = at_;
      return std::nullopt;
    }
    at_ += length;
    extents_.push_back({length, {}, 0});
    return Piece{length, &extents_.back()};
  }

  int failed() const { return failed_; }  // errno, or 0
  std::uint64_t end() const { return size_bytes_; }
  // After the last piece's extent has been set.
  std::vector<Extent> extents() const {
    std::vector<Extent> result;
    result.reserve(extents_.size());
    for (const Extent& extent : extents_) repository::append_extent(result, extent);
    return result;
  }

 private:
  void skip_hole() {
    const auto [begin, end] = ranges_.next(at_);
    if (begin > at_) extents_.push_back({begin - at_, {}, 0});
    at_ = begin;
    range_end_ = end;
  }

  // Reads on behind `have` bytes; returns how many there are.
  std::size_t fill(base::MutableByteView out, std::size_t have) {
    while (have < out.size()) {
      const ssize_t size =
          ::pread(fd_, out.data() + have, out.size() - have, static_cast<off_t>(at_ + have));
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) failed_ = errno;
      if (size <= 0) break;
      have += static_cast<std::size_t>(size);
    }
    return have;
  }

  const int fd_;
  std::uint64_t size_bytes_;
  const ContentCutter& cutter_;
  const DataRanges ranges_;
  std::uint64_t at_ = 0;
  std::uint64_t range_end_ = 0;
  std::deque<Extent> extents_;  // a piece's stays where it is while others come
  int failed_ = 0;
};

// A reading of a file that is open: what it was before, and whether it still is afterwards.
struct OpenFile {
  base::UniqueFd fd;
  struct stat status {};

  std::uint64_t size_bytes() const { return static_cast<std::uint64_t>(status.st_size); }
  bool has_holes() const {
    constexpr std::int64_t kBlock = 512;
    return status.st_blocks * kBlock < status.st_size;
  }
  bool is_unchanged() const {
    struct stat now {};
    return ::fstat(fd.get(), &now) == 0 && Stamp(now) == Stamp(status);
  }
};

void set_problem(FileToRead& file, Outcome outcome, std::string problem) {
  file.outcome = outcome;
  file.problem = std::move(problem);
}

constexpr std::string_view kOtherType = "it is no file any more";

void set_not_opened(FileToRead& file, int error) {
  if (error == ENOENT || error == ENOTDIR) {
    set_problem(file, Outcome::kVanished, "it vanished before it was read");
  } else if (error == ELOOP || error == ENXIO) {  // a link, a socket
    set_problem(file, Outcome::kVanished, std::string(kOtherType));
  } else {
    set_problem(file, Outcome::kUnreadable, std::strerror(error));
  }
}

// False, and the file's problem, where it cannot be opened.
bool open_file(TreeOpener& opener, FileToRead& file, OpenFile& open) {
  constexpr int kFlags = O_RDONLY | O_NONBLOCK | O_NOCTTY;  // it may be a pipe by now
  const std::string& path = file.entry->path;
  int fd = opener.open(path, kFlags | O_NOATIME);
  if (fd < 0 && errno == EPERM) fd = opener.open(path, kFlags);  // not ours: then with atime
  if (fd < 0) {
    set_not_opened(file, errno);
    return false;
  }
  open.fd = base::UniqueFd(fd);
  if (::fstat(fd, &open.status) != 0) {
    set_problem(file, Outcome::kUnreadable, std::strerror(errno));
    return false;
  }
  if (!S_ISREG(open.status.st_mode)) {
    set_problem(file, Outcome::kVanished, std::string(kOtherType));
    return false;
  }
  return true;
}

// Rights, owner and times of what was read, which may be others than when the tree was listed.
void describe(const OpenFile& open, EntryMaker& maker, FileToRead& file) {
  repository::FileEntry& entry = *file.entry;
  repository::FileEntry now = maker.make(entry.path, open.status);
  now.hard_link = std::move(entry.hard_link);
  file.inode = open.status.st_ino;
  std::string problem;
  now.xattrs = read_xattrs(open.fd.get(), problem);
  if (!problem.empty()) {
    set_problem(file, Outcome::kChanged, problem);
    now.sighting.reset();  // the next backup is to tell it again
  }
  entry = std::move(now);
}

}  // namespace

// One thread's tools.
class FileReader::Worker {
 public:
  explicit Worker(FileReader& reader)
      : reader_(reader),
        writer_(reader.store_.new_writer()),
        opener_(reader.root_),
        buffer_(ContentCutter::kMost) {}

  // A file that this worker reads alone.
  void read(FileToRead& file, const std::stop_token& stop) {
    for (int reading = 1; reading <= kReadings; ++reading) {
      file.outcome = Outcome::kRead;
      OpenFile open;
      if (!open_file(opener_, file, open)) return;
      describe(open, maker_, file);
      Cutting cutting = cut(open);
      while (const auto piece = cutting.next(buffer_.span())) store(*piece, stop);
      if (finish(file, open, cutting)) return;
    }
  }

  // The pieces of a file that others read too.
  void read_pieces(base::Guarded<Cutting>& cutting, const std::stop_token& stop) {
    while (const auto piece = cutting.lock()->next(buffer_.span())) store(*piece, stop);
  }

  Cutting cut(const OpenFile& open) const {
    ::posix_fadvise(open.fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
    return Cutting(open.fd.get(), open.size_bytes(), open.has_holes(), reader_.cutter_);
  }

  // True where the reading stands: the file is as it was before, or cannot be read at all.
  bool finish(FileToRead& file, const OpenFile& open, const Cutting& cutting) {
    if (cutting.failed() != 0) {
      set_problem(file, Outcome::kUnreadable, std::strerror(cutting.failed()));
      return true;
    }
    file.entry->extents = cutting.extents();
    file.entry->size_bytes = cutting.end();
    // One that ends early shrank and grew again within a tick of the clock.
    if (open.is_unchanged() && cutting.end() == open.size_bytes()) {
      repository::store_extents(*file.entry, *writer_);
      return true;
    }
    // So that no later backup takes it for what was seen.
    file.entry->sighting.reset();
    set_problem(file, Outcome::kChanged, "it changed while it was read");
    return false;
  }

  // Of a file that kept changing.
  void settle(FileToRead& file) {
    if (file.outcome == Outcome::kChanged && file.entry->extent_chunks.empty()) {
      repository::store_extents(*file.entry, *writer_);
    }
  }

  TreeOpener& opener() { return opener_; }
  EntryMaker& maker() { return maker_; }
  void end() { writer_->finish(); }

 private:
  void store(const Cutting::Piece& piece, const std::stop_token& stop) {
    reader_.limits_.throttle.take(piece.length, stop);
    const ByteView content = ByteView(buffer_.span()).first(piece.length);
    *piece.extent = repository::store_chunk(content, *writer_);
    reader_.bytes_read_ += piece.length;
    reader_.progress_.advance(piece.length);
    base::throw_if_stopped(stop);
  }

  FileReader& reader_;
  std::unique_ptr<repository::ChunkStore::Writer> writer_;
  TreeOpener opener_;
  EntryMaker maker_;
  base::AlignedBuffer buffer_;
};

FileReader::FileReader(const std::filesystem::path& root, const ContentCutter& cutter,
                       repository::ChunkStore& store, const ReadingLimits& limits,
                       base::Progress& progress)
    : root_(root), cutter_(cutter), store_(store), limits_(limits), progress_(progress) {}

void FileReader::read(std::vector<FileToRead>& files, std::stop_token stop) {
  std::vector<FileToRead*> small;
  std::vector<FileToRead*> large;
  for (FileToRead& file : files) {
    (file.entry->size_bytes < kLargeBytes ? small : large).push_back(&file);
  }
  read_small(small, stop);
  for (FileToRead* file : large) read_large(*file, stop);
}

void FileReader::read_small(const std::vector<FileToRead*>& files, const std::stop_token& stop) {
  // Neighbours go to one worker: it keeps their directory open, and their chunks stand together.
  constexpr std::size_t kAtOnce = 32;
  std::atomic<std::size_t> next = 0;
  base::WorkerGroup group(stop);
  for (int i = 0; i < limits_.workers; ++i) {
    group.start([&](std::stop_token stopped) {
      Worker worker(*this);
      for (std::size_t from = next += kAtOnce; from - kAtOnce < files.size();
           from = next += kAtOnce) {
        for (std::size_t n = from - kAtOnce; n < std::min(from, files.size()); ++n) {
          base::throw_if_stopped(stopped);
          worker.read(*files[n], stopped);
          worker.settle(*files[n]);
        }
      }
      worker.end();
    });
  }
  group.join();
}

void FileReader::read_large(FileToRead& file, const std::stop_token& stop) {
  Worker first(*this);
  for (int reading = 1; reading <= kReadings; ++reading) {
    file.outcome = Outcome::kRead;
    OpenFile open;
    if (!open_file(first.opener(), file, open)) break;
    describe(open, first.maker(), file);
    base::Guarded<Cutting> cutting(first.cut(open));
    base::WorkerGroup group(stop);
    for (int i = 1; i < limits_.workers; ++i) {
      group.start([&](std::stop_token stopped) {
        Worker other(*this);
        other.read_pieces(cutting, stopped);
        other.end();
      });
    }
    group.start([&](std::stop_token stopped) { first.read_pieces(cutting, stopped); });
    group.join();
    if (first.finish(file, open, *cutting.lock())) break;
  }
  first.settle(file);
  first.end();
}

}  // namespace holdfast::files
