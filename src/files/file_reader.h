// Reads files into the repository: the hot path of a backup of files.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/throttle.h"
#include "files/tree.h"
#include "repository/chunk_writer.h"
#include "repository/content_cutter.h"

namespace holdfast::files {

// A file to be read, and what became of it.
struct FileToRead {
  enum class Outcome { kRead, kChanged, kVanished, kUnreadable };

  repository::FileEntry* entry = nullptr;  // of a regular file; extents, size and times are set
  Outcome outcome = Outcome::kRead;
  std::string problem = {};  // why it is not kRead
  std::uint64_t inode = 0;   // of what was read; 0: nothing was
};

struct ReadingLimits {
  int workers = 2;
  base::Throttle& throttle;
};

// Reads all of them, several at once; large ones one after the other, each by all workers. A file
// that is not after the reading as it was before is read again, and stays as the last reading found
// it. Throws only for what ends the backup (storage, stop). Memory: some 10 MiB a worker beside the
// store's.
class FileReader {
 public:
  // All outlive it.
  FileReader(const std::filesystem::path& root, const repository::ContentCutter& cutter,
             repository::ChunkStore& store, const ReadingLimits& limits, base::Progress& progress);

  void read(std::vector<FileToRead>& files, std::stop_token stop);
  std::uint64_t bytes_read() const { return bytes_read_; }

 private:
  class Worker;
  void read_small(const std::vector<FileToRead*>& files, const std::stop_token& stop);
  void read_large(FileToRead& file, const std::stop_token& stop);

  const std::filesystem::path& root_;
  const repository::ContentCutter& cutter_;
  repository::ChunkStore& store_;
  const ReadingLimits& limits_;
  base::Progress& progress_;
  std::atomic<std::uint64_t> bytes_read_{0};
};

// The extended attributes of what `fd` is, sorted. What does not fit kMaxXattrBytes, or cannot be
// read, is named in `problem`.
std::vector<repository::ExtendedAttribute> read_xattrs(int fd, std::string& problem);

}  // namespace holdfast::files
