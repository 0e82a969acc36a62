#include "postgres/wal_ahead.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <malloc.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <optional>
#include <thread>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/file.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kLargestNote = 16 * 1024;
constexpr std::uint64_t kLargestAhead = std::uint64_t{64} << 20;
constexpr milliseconds kLongestWait{10'000};  // for a segment that is being archived
constexpr milliseconds kIdle{2'000};          // without a question, the process ends
constexpr milliseconds kStep{2};

constexpr std::string_view kNote = "archived";
constexpr std::string_view kBusy = "busy";

// FNV-1a: only tells names apart; a note itself says what it is about.
std::uint64_t short_hash(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

bool is_there(const fs::path& path) { return ::access(path.c_str(), F_OK) == 0; }

bool is_ready(const fs::path& pg_wal, const std::string& segment) {
  return is_there(pg_wal / "archive_status" / (segment + ".ready"));
}

std::optional<std::uint32_t> segment_size_of(const fs::path& segment) {
  struct stat status {};
  if (::stat(segment.c_str(), &status) != 0) return std::nullopt;
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (!is_segment_size(size) || size > kLargestAhead) return std::nullopt;
  return static_cast<std::uint32_t>(size);
}

bool lock(const base::UniqueFd& file) { return ::flock(file.get(), LOCK_EX | LOCK_NB) == 0; }

}  // namespace

ArchivedNotes::ArchivedNotes(fs::path directory, const fs::path& pg_wal, storage::Storage& storage)
    : directory_(std::move(directory)),
      pg_wal_(fs::absolute(pg_wal)),
      storage_(storage),
      prefix_(fmt::format("{:016x}", short_hash(storage.describe() + '\n' + pg_wal_.string()))) {}

fs::path ArchivedNotes::place_of(const std::string& segment, std::string_view suffix) const {
  return directory_ / fmt::format("{}-{}.{}", prefix_, segment, suffix);
}

fs::path ArchivedNotes::lock_file() const { return directory_ / (prefix_ + ".lock"); }

std::string ArchivedNotes::look_at(const std::string& segment) const {
  struct stat status {};
  if (::stat((pg_wal_ / segment).c_str(), &status) != 0) return {};
  return fmt::format("{}:{} {} {} {}", status.st_dev, status.st_ino, status.st_size,
                     nanoseconds(status.st_mtim), nanoseconds(status.st_ctim));
}

// Empty where there is nothing to note.
std::string ArchivedNotes::text_of(const std::string& segment, const std::string& look,
                                   const std::string& object) const {
  const auto info = storage_.stat(object);
  if (!info || look.empty()) return {};
  return fmt::format("{}\n{}\n{}\n{}\n{} {}\n", object, storage_.describe(),
                     (pg_wal_ / segment).string(), look, info->size_bytes,
                     info->modified.time_since_epoch().count());
}

bool ArchivedNotes::has(const std::string& segment) const {
  return is_there(place_of(segment, kNote));
}

void ArchivedNotes::forget(const std::string& segment) const {
  for (const std::string_view suffix : {kNote, kBusy}) {
    ::unlink(place_of(segment, suffix).c_str());
  }
}

void ArchivedNotes::forget_unfinished() const {
  std::error_code error;
  for (fs::directory_iterator entry(directory_, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(prefix_) && name.ends_with(kBusy)) ::unlink(entry->path().c_str());
  }
}

bool ArchivedNotes::is_served() const {
  try {
    const auto file = base::open_if_exists(lock_file(), O_RDWR | O_NOFOLLOW);
    return file && !lock(*file);
  } catch (const base::Error&) {
    return false;
  }
}

bool ArchivedNotes::take_note(const std::string& segment) const {
  const fs::path note = place_of(segment, kNote);
  try {
    const auto file = base::open_if_exists(note, O_RDONLY | O_NOFOLLOW);
    struct stat status {};
    if (!file || ::fstat(file->get(), &status) != 0 || status.st_uid != ::geteuid()) return false;
    base::Bytes bytes(kLargestNote);
    bytes.resize(base::read_at(file->get(), 0, bytes, note));
    const std::string_view text = base::as_text(bytes);
    const std::string object(text.substr(0, text.find('\n')));
    const bool holds = storage::is_valid_name(object) && object.ends_with("/" + segment) &&
                       text == text_of(segment, look_at(segment), object);
    ::unlink(note.c_str());
    return holds;
  } catch (const base::Error&) {
    return false;
  }
}

bool ArchivedNotes::take(const std::string& segment) const {
  const auto deadline = SteadyClock::now() + kLongestWait;
  for (;;) {
    const bool busy = is_there(place_of(segment, kBusy));  // before: it may end in between
    if (has(segment)) return take_note(segment);
    if (!busy || !is_served() || SteadyClock::now() > deadline) return false;
    std::this_thread::sleep_for(kStep);
  }
}

void ArchivedNotes::begin(const std::string& segment) const {
  const fs::path place = place_of(segment, kBusy);
  base::open_file(place, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600);
}

void ArchivedNotes::end(const std::string& segment, const std::string& before,
                        const std::string& object) const {
  try {
    const std::string text = look_at(segment) == before ? text_of(segment, before, object) : "";
    if (!text.empty()) {
      base::write_file_durably(place_of(segment, kNote), base::as_bytes(text), 0600);
    }
  } catch (const base::Error&) {
    ::unlink(place_of(segment, kNote).c_str());
  }
  ::unlink(place_of(segment, kBusy).c_str());
}

std::vector<std::string> ready_after(const fs::path& segment, int most) {
  std::vector<std::string> result;
  const auto size = segment_size_of(segment);
  if (!size) return result;
  auto name = parse_segment_name(segment.filename().native(), *size);
  while (name && result.size() < static_cast<std::size_t>(most)) {
    ++name->number;
    const std::string text = format_segment_name(*name, *size);
    if (!is_ready(segment.parent_path(), text)) break;
    result.push_back(text);
  }
  return result;
}

namespace {

class AheadArchiver {
 public:
  AheadArchiver(const repository::Context& context, const ArchivedNotes& notes,
                const fs::path& segment, const AheadOptions& options)
      : context_(context),
        notes_(notes),
        pg_wal_(segment.parent_path()),
        last_(segment.filename().string()),
        most_(static_cast<std::size_t>(std::max(options.most, 1))),
        workers_(std::min(options.workers, options.most)) {}

  void run() {
    base::WorkerGroup group;
    for (int i = 0; i < workers_; ++i) {
      group.start([this](const std::stop_token& stop) {
        while (const auto segment = queue_.pop(stop)) archive(*segment);
      });
    }
    auto last_progress = SteadyClock::now();
    while (!failed_ && SteadyClock::now() - last_progress < kIdle) {
      drop_what_was_taken();
      const auto next =
          ahead_.size() < most_ ? ready_after(pg_wal_ / last_, 1) : std::vector<std::string>{};
      if (!next.empty()) {
        last_ = next.front();
        ahead_.push_back(last_);
        queue_.push(last_, group.token());
        last_progress = SteadyClock::now();
      } else if (ahead_.empty()) {
        break;  // all that was ready has been archived and asked for
      } else {
        std::this_thread::sleep_for(kStep);
      }
    }
    queue_.close();
    group.join();
    for (const std::string& segment : ahead_) {
      if (!is_ready(pg_wal_, segment)) notes_.forget(segment);
    }
  }

 private:
  // The server has been told of these: they are marked as done, or their notes were used.
  void drop_what_was_taken() {
    while (!ahead_.empty() && !is_ready(pg_wal_, ahead_.front())) {
      notes_.forget(ahead_.front());
      ahead_.pop_front();
    }
  }

  void archive(const std::string& segment) {
    if (failed_) return;
    try {
      notes_.begin(segment);
      const std::string before = notes_.look_at(segment);
      const PushedWal pushed = push_wal(context_, pg_wal_ / segment, 1);
      notes_.end(segment, before, pushed.object);
      if (!is_ready(pg_wal_, segment)) notes_.forget(segment);  // the server did not wait
    } catch (const std::exception&) {
      failed_ = true;
      notes_.forget(segment);
    }
  }

  const repository::Context& context_;
  const ArchivedNotes& notes_;
  const fs::path pg_wal_;
  std::string last_;               // given to the workers
  std::deque<std::string> ahead_;  // given to them, and the server has not heard of it
  const std::size_t most_;
  const int workers_;
  base::BoundedQueue<std::string> queue_{1};
  std::atomic<bool> failed_{false};
};

}  // namespace

void archive_ahead(const repository::Context& context, const ArchivedNotes& notes,
                   const fs::path& segment, const AheadOptions& options) {
  const base::UniqueFd file = base::open_file(notes.lock_file(), O_RDWR | O_CREAT | O_NOFOLLOW);
  if (!lock(file)) return;
  // The memory of one segment serves the next, without being cleared by the system again.
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
  notes.forget_unfinished();
  AheadArchiver(context, notes, segment, options).run();
  ::unlink(notes.lock_file().c_str());
}

}  // namespace holdfast::postgres
