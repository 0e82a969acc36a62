#include "files/file_writer.h"

#include <algorithm>
#include <span>

#include "base/concurrency.h"
#include "base/error.h"
#include "files/restored_file.h"

namespace holdfast::files {
namespace {

// A file of more is shared by the workers, in stretches of as much.
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

  RestoredFile file;
  const std::vector<FilePart> parts;
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

std::vector<std::span<const FilePart>> cut(std::span<const FilePart> parts) {
  std::vector<std::span<const FilePart>> stretches;
  std::size_t begin = 0;
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    bytes += parts[i].extent.length_bytes;
    if (bytes < kStretchBytes && i + 1 < parts.size()) continue;
    stretches.push_back(parts.subspan(begin, i + 1 - begin));
    begin = i + 1;
    bytes = 0;
  }
  return stretches;
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
  void add_again(std::shared_ptr<LargeFile> file) {
    file->unfinished = file->stretches.size();
    again_.push_back(std::move(file));
  }

 private:
  std::shared_ptr<LargeFile> open(const FilesToWrite::File& file) {
    std::vector<FilePart> parts = source_.parts_of(*file.entry);
    auto large = std::make_shared<LargeFile>(
        RestoredFile(tree_, *file.entry, cursor_, file.own_links), std::move(parts));
    large->stretches = cut(large->parts);
    large->unfinished = large->stretches.size();
    if (!large->comparing) large->file.create();
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
      large->comparing = false;
      large->file.create();
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
    const std::uint64_t begin = stretch.front().offset;
    const std::uint64_t end = stretch.back().offset + stretch.back().extent.length_bytes;
    for (const FilePart& part : stretch) {
      base::throw_if_stopped(stop_);
      bytes_written_ += large.file.fill(part, source_);
      progress_.advance(part.extent.length_bytes);
    }
    large.file.begin_writing_out(begin, end - begin);
  }

  TargetTree& tree_;
  DirectoryCursor cursor_;
  ContentSource source_;
  RightsSetter rights_;
  base::Progress& progress_;
  base::Guarded<Tasks>& tasks_;
  const std::stop_token& stop_;
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
