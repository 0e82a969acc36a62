#include "files/file_writer.h"

#include <algorithm>
#include <span>

#include "base/concurrency.h"
#include "base/error.h"
#include "files/restored_file.h"

namespace holdfast::files {
namespace {

// A file of more is shared by the workers, in stretches of as much. Each is put together in memory
// and written at once, past the page cache: large writes come near to what the disk can do.
constexpr std::uint64_t kStretchBytes = 8 * 1024 * 1024;
// As much of small files is taken at a time.
constexpr std::uint64_t kRunBytes = 4 * 1024 * 1024;
constexpr std::size_t kRunFiles = 128;
// Where the storage is far away, some wait while others work.
constexpr int kLeastWorkersFarAway = 4;

// In its first round what is there is compared (if it may be the same), in its second it is filled.
struct LargeFile {
  LargeFile(RestoredFile file_in, std::vector<FilePart> parts_in)
      : file(std::move(file_in)), parts(std::move(parts_in)), comparing(file.may_be_same()) {}

  void begin_comparing();
  void begin_filling();

  RestoredFile file;
  std::vector<FilePart> parts;
  std::vector<std::span<const FilePart>> stretches;
  bool comparing;
  std::atomic<bool> differs{false};
  std::atomic<std::size_t> unfinished{0};  // stretches of this round
};

struct Task {
  std::span<const FilesToWrite::File> small;
  std::shared_ptr<LargeFile> large;
  std::span<const FilePart> stretch;
};

// Parts one after the other that begin in the same stretch of the file.
std::vector<std::span<const FilePart>> cut(std::span<const FilePart> parts) {
  std::vector<std::span<const FilePart>> stretches;
  std::size_t begin = 0;
  for (std::size_t i = 1; i <= parts.size(); ++i) {
    const bool goes_on =
        i < parts.size() && parts[i].offset / kStretchBytes == parts[begin].offset / kStretchBytes;
    if (goes_on) continue;
    stretches.push_back(parts.subspan(begin, i - begin));
    begin = i;
  }
  return stretches;
}

// The same content, no part of which goes from one stretch into the next.
std::vector<FilePart> divided(const std::vector<FilePart>& parts) {
  std::vector<FilePart> result;
  for (FilePart rest : parts) {
    while (rest.extent.length_bytes > 0) {
      FilePart part = rest;
      part.extent.length_bytes =
          std::min(rest.extent.length_bytes, kStretchBytes - rest.offset % kStretchBytes);
      rest.offset += part.extent.length_bytes;
      rest.extent.length_bytes -= part.extent.length_bytes;
      if (!rest.extent.chunk.is_zero_range()) {
        rest.extent.chunk_offset += static_cast<std::uint32_t>(part.extent.length_bytes);
      }
      result.push_back(part);
    }
  }
  return result;
}

void LargeFile::begin_comparing() {
  stretches = cut(parts);
  unfinished = stretches.size();
}

void LargeFile::begin_filling() {
  comparing = false;
  parts = divided(parts);
  stretches = cut(parts);
  unfinished = stretches.size();
  file.create();
  file.write_directly();
}

// What is to be done next. Used by one worker at a time.
class Tasks {
 public:
  Tasks(const repository::Context& context, const repository::Index& index, TargetTree& tree,
        std::span<const FilesToWrite::File> files)
      : tree_(tree), cursor_(tree.root()), source_(context, index, tree.shown()), files_(files) {}

  std::optional<Task> next() {
    if (large_ == nullptr && !again_.empty()) {
      large_ = std::move(again_.back());
      again_.pop_back();
    }
    if (large_ == nullptr && !files_.empty() && files_.front().entry->size_bytes > kStretchBytes) {
      large_ = open(files_.front());
      files_ = files_.subspan(1);
    }
    if (large_ != nullptr) return next_stretch();
    if (files_.empty()) return std::nullopt;
    return next_run();
  }

  // Its first round is over: it is to be filled.
  void add_again(std::shared_ptr<LargeFile> file) { again_.push_back(std::move(file)); }

 private:
  std::shared_ptr<LargeFile> open(const FilesToWrite::File& file) {
    std::vector<FilePart> parts = source_.parts_of(*file.entry);
    auto large = std::make_shared<LargeFile>(
        RestoredFile(tree_, *file.entry, cursor_, file.own_links), std::move(parts));
    if (large->comparing) {
      large->begin_comparing();
    } else {
      large->begin_filling();
    }
    return large;
  }

  Task next_stretch() {
    Task task{{}, large_, large_->stretches[stretch_]};
    if (++stretch_ == large_->stretches.size()) {
      large_ = nullptr;
      stretch_ = 0;
    }
    return task;
  }

  Task next_run() {
    std::size_t count = 0;
    for (std::uint64_t bytes = 0; count < std::min(files_.size(), kRunFiles) && bytes < kRunBytes;
         ++count) {
      const std::uint64_t size = files_[count].entry->size_bytes;
      if (size > kStretchBytes) break;
      bytes += size;
    }
    const Task task{files_.first(count), nullptr, {}};
    files_ = files_.subspan(count);
    return task;
  }

  TargetTree& tree_;
  DirectoryCursor cursor_;
  ContentSource source_;
  std::span<const FilesToWrite::File> files_;  // that nobody has taken
  std::shared_ptr<LargeFile> large_;           // of which stretches are left
  std::size_t stretch_ = 0;                    // its next one
  std::vector<std::shared_ptr<LargeFile>> again_;
};

class Worker {
 public:
  Worker(const repository::Context& context, const repository::Index& index, TargetTree& tree,
         Shortfalls& shortfalls, base::Progress& progress, base::Guarded<Tasks>& tasks,
         const std::stop_token& stop)
      : tree_(tree),
        cursor_(tree.root()),
        source_(context, index, tree.shown()),
        rights_(tree, shortfalls),
        progress_(progress),
        tasks_(tasks),
        stop_(stop) {}

  std::uint64_t run() {
    while (std::optional<Task> task = tasks_.lock()->next()) {
      if (task->large != nullptr) {
        named(task->large->file.entry(), [&] { work_on(task->large, task->stretch); });
      }
      for (const FilesToWrite::File& file : task->small) {
        base::throw_if_stopped(stop_);
        named(*file.entry, [&] { restore(file); });
      }
    }
    return bytes_written_;
  }

 private:
  template <typename Body>
  void named(const repository::FileEntry& entry, Body&& body) {
    base::with_context([&] { return "while restoring " + tree_.shown()(entry.path); }, body);
  }

  void restore(const FilesToWrite::File& to_restore) {
    RestoredFile file(tree_, *to_restore.entry, cursor_, to_restore.own_links);
    const std::vector<FilePart> parts = source_.parts_of(*to_restore.entry);
    if (file.may_be_same() && std::all_of(parts.begin(), parts.end(), [&](const FilePart& part) {
          return file.is_same(part, source_);
        })) {
      file.keep(rights_);
    } else {
      file.create();
      for (const FilePart& part : parts) bytes_written_ += file.fill(part, source_);
      file.publish(rights_);
    }
    progress_.advance(to_restore.entry->size_bytes);
  }

  void work_on(const std::shared_ptr<LargeFile>& large, std::span<const FilePart> stretch) {
    if (large->comparing) {
      compare(*large, stretch);
    } else {
      fill(*large, stretch);
    }
    if (large->unfinished.fetch_sub(1) != 1) return;
    if (!large->comparing) {
      large->file.publish(rights_);
    } else if (!large->differs) {
      large->file.keep(rights_);
      progress_.advance(large->file.entry().size_bytes);
    } else {
      large->begin_filling();
      tasks_.lock()->add_again(large);
    }
  }

  void compare(LargeFile& large, std::span<const FilePart> stretch) {
    for (const FilePart& part : stretch) {
      base::throw_if_stopped(stop_);
      if (large.differs) return;
      if (!large.file.is_same(part, source_)) large.differs = true;
    }
  }

  void fill(const LargeFile& large, std::span<const FilePart> stretch) {
    if (stretch_.capacity() == 0) stretch_ = base::AlignedBuffer(kStretchBytes);
    const std::uint64_t begin = stretch.front().offset / kStretchBytes * kStretchBytes;
    std::size_t run_begin = 0;  // in the buffer: what is put together and not yet written
    std::size_t run_end = 0;
    const auto write_run = [&] {
      large.file.write(begin + run_begin, stretch_.span().subspan(run_begin, run_end - run_begin));
      bytes_written_ += run_end - run_begin;
    };
    for (const FilePart& part : stretch) {
      base::throw_if_stopped(stop_);
      const std::size_t place = part.offset - begin;
      if (!part.extent.chunk.is_zero_range()) {
        if (place != run_end) {
          write_run();
          run_begin = place;
        }
        const base::ByteView content = large.file.content_of(part, source_);
        std::copy(content.begin(), content.end(), stretch_.data() + place);
        run_end = place + content.size();
      }
      progress_.advance(part.extent.length_bytes);
    }
    write_run();
  }

  TargetTree& tree_;
  DirectoryCursor cursor_;
  ContentSource source_;
  RightsSetter rights_;
  base::Progress& progress_;
  base::Guarded<Tasks>& tasks_;
  const std::stop_token& stop_;
  base::AlignedBuffer stretch_;
  std::uint64_t bytes_written_ = 0;
};

}  // namespace

std::uint64_t write_files(const repository::Context& context, const repository::Index& index,
                          TargetTree& tree, const FilesToWrite& request, Shortfalls& shortfalls,
                          base::Progress& progress, const std::stop_token& stop) {
  base::Guarded<Tasks> tasks(context, index, tree, request.files);
  std::atomic<std::uint64_t> bytes_written = 0;
  base::WorkerGroup group(stop);
  const int workers = context.storage.requests_at_once() > 1
                          ? std::max(request.workers, kLeastWorkersFarAway)
                          : std::max(request.workers, 1);
  for (int i = 0; i < workers; ++i) {
    group.start([&](std::stop_token stopped) {
      bytes_written += Worker(context, index, tree, shortfalls, progress, tasks, stopped).run();
    });
  }
  group.join();
  return bytes_written;
}

}  // namespace holdfast::files
