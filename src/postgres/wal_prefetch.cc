#include "postgres/wal_prefetch.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include "base/concurrency.h"
#include "base/error.h"
#include "postgres/wal_archive.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr const char* kDirectory = "holdfast-ahead";
constexpr const char* kPosition = "position";
constexpr std::size_t kSegmentNameSize = 24;
// Segments are fetched ahead as long as all together stay below this.
constexpr std::uint64_t kMostBytesAhead = std::uint64_t{256} << 20;
constexpr milliseconds kLongestWait{5000};  // for a segment that is on its way
constexpr milliseconds kIdle{60'000};       // without a question, the process ends
constexpr milliseconds kLookAround{500};    // whether the recovery still goes on

// FNV-1a: tells apart what may not be mixed up by accident; nobody else can write here.
std::uint64_t short_hash(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

std::string boot_id() {
  try {
    return base::read_text_file("/proc/sys/kernel/random/boot_id", 4096);
  } catch (const base::Error&) {
    return {};
  }
}

// The process in the background holds this lock for its life; nobody else does for long.
bool lock(const base::UniqueFd& position) {
  return ::flock(position.get(), LOCK_EX | LOCK_NB) == 0;
}

bool is_there(const fs::path& path) { return ::access(path.c_str(), F_OK) == 0; }

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  return names;
}

// PostgreSQL removes the signal files at the end of a recovery. The current directory is the data
// directory, or nothing any more.
bool is_recovering() {
  if (!is_there("recovery.signal") && !is_there("standby.signal")) return false;
  try {
    const std::string text = base::read_text_file("postmaster.pid", 64 * 1024);
    pid_t pid = 0;
    std::from_chars(text.data(), text.data() + text.size(), pid);
    return pid > 0 && (::kill(pid, 0) == 0 || errno == EPERM);
  } catch (const base::Error&) {
    return false;
  }
}

bool has_room_for(const fs::path& directory, std::uint64_t bytes) {
  struct statvfs status {};
  return ::statvfs(directory.c_str(), &status) == 0 &&
         static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize > bytes;
}

}  // namespace

FetchedAhead::FetchedAhead(const fs::path& pg_wal, std::string_view repository,
                           std::uint64_t system_id)
    : directory_(pg_wal / kDirectory),
      tag_(fmt::format("{:016x}",
                       short_hash(fmt::format("{}\n{}\n{}", boot_id(), repository, system_id)))) {}

fs::path FetchedAhead::position_file() const { return directory_ / kPosition; }

fs::path FetchedAhead::place_of(const std::string& segment) const {
  return directory_ / (segment + "." + tag_);
}

bool FetchedAhead::is_served() const {
  try {
    const auto position = base::open_if_exists(position_file(), O_RDWR);
    return position && !lock(*position);
  } catch (const base::Error&) {
    return false;
  }
}

bool FetchedAhead::take(const std::string& segment, const fs::path& destination) const {
  const fs::path place = place_of(segment);
  const fs::path unfinished = unfinished_fetch(place);
  const auto deadline = SteadyClock::now() + kLongestWait;
  for (;;) {
    if (::rename(place.c_str(), destination.c_str()) == 0) return true;
    if (errno != ENOENT) return false;
    if (!is_there(unfinished)) return ::rename(place.c_str(), destination.c_str()) == 0;
    if (!is_served() || SteadyClock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
}

bool FetchedAhead::follow(const std::string& segment) const {
  try {
    const auto position = base::open_if_exists(position_file(), O_RDWR);
    if (!position) return false;
    base::write_at(position->get(), 0, base::as_bytes(segment), position_file());
    return !lock(*position);
  } catch (const base::Error&) {
    return false;
  }
}

void FetchedAhead::remove_all_but(const std::string& first, const std::string& last) const {
  for (const std::string& name : names_in(directory_)) {
    const std::string segment = name.substr(0, kSegmentNameSize);
    // Either whole or on its way.
    const bool wanted =
        name.starts_with(segment + "." + tag_) && first <= segment && segment <= last;
    if (!wanted && name != kPosition) ::unlink((directory_ / name).c_str());
  }
}

namespace {

class Prefetcher {
 public:
  Prefetcher(const repository::Context& context, const FetchedAhead& ahead,
             const PrefetchOptions& options)
      : context_(context),
        ahead_(ahead),
        options_(options),
        most_(std::clamp<std::uint64_t>(kMostBytesAhead / options.segment_size, 1,
                                        static_cast<std::uint64_t>(options.most))),
        wanted_(2 * most_) {}

  // Until the recovery ends or asks no more.
  void run(const base::UniqueFd& position) {
    const base::UniqueFd changes(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (inotify_add_watch(changes.get(), ahead_.position_file().c_str(), IN_MODIFY) < 0) return;
    base::WorkerGroup group;
    for (int i = 0; i < options_.workers; ++i) {
      group.start([this](const std::stop_token& stop) {
        while (const auto segment = wanted_.pop(stop)) fetch(*segment);
      });
    }
    auto last_question = SteadyClock::now();
    while (is_recovering() && SteadyClock::now() - last_question < kIdle) {
      if (look(position, group.token())) last_question = SteadyClock::now();
      wait_for_change(changes);
    }
    group.request_stop();
    group.join();
  }

 private:
  struct State {
    std::optional<SegmentName> position;  // the server has this one
    std::uint64_t next = 0;               // not asked of the workers yet
    std::optional<std::uint64_t> end;     // could not be had; nor was what follows tried
    std::set<SegmentName> at_work;        // never two workers on one file
  };

  static void wait_for_change(const base::UniqueFd& changes) {
    pollfd event{changes.get(), POLLIN, 0};
    if (::poll(&event, 1, static_cast<int>(kLookAround.count())) <= 0) return;
    std::array<char, 4096> ignored;
    while (::read(changes.get(), ignored.data(), ignored.size()) > 0) {
    }
  }

  // Whether the server has gone on since the last look; then the workers get to know.
  bool look(const base::UniqueFd& file, const std::stop_token& stop) {
    std::array<std::uint8_t, kSegmentNameSize> bytes{};
    if (base::read_at(file.get(), 0, bytes, ahead_.position_file()) != bytes.size()) return false;
    const auto position = parse_segment_name(base::as_text(bytes), options_.segment_size);
    if (!position) return false;
    std::vector<SegmentName> more;
    {
      auto state = state_.lock();
      if (state->position == position) return false;
      const bool onward = state->position && state->position->timeline == position->timeline &&
                          state->position->number < position->number;
      if (!onward) state->next = 0;
      if (state->end) state->next = std::min(state->next, *state->end);  // once more
      state->end.reset();
      state->position = position;
      state->next = std::max(state->next, position->number + 1);
      for (; state->next <= position->number + most_; ++state->next) {
        more.push_back({position->timeline, state->next});
      }
    }
    ahead_.remove_all_but(
        format_segment_name({position->timeline, position->number + 1}, options_.segment_size),
        format_segment_name({position->timeline, position->number + most_}, options_.segment_size));
    for (const SegmentName& segment : more) wanted_.push(segment, stop);
    return true;
  }

  bool is_ahead(const State& state, const SegmentName& segment) const {
    return state.position && state.position->timeline == segment.timeline &&
           state.position->number < segment.number &&
           segment.number <= state.position->number + most_;
  }

  void fetch(const SegmentName& segment) {
    {
      auto state = state_.lock();
      if (!is_ahead(*state, segment) || (state->end && *state->end <= segment.number)) return;
      if (!state->at_work.insert(segment).second) return;
    }
    const bool there = fetch_file(format_segment_name(segment, options_.segment_size));
    auto state = state_.lock();
    state->at_work.erase(segment);
    if (there || !is_ahead(*state, segment)) return;
    state->end = std::min(segment.number, state->end.value_or(segment.number));
  }

  // What is wrong with a segment, the call that asks for it will tell.
  bool fetch_file(const std::string& name) const {
    const fs::path place = ahead_.place_of(name);
    if (is_there(place)) return true;
    if (!has_room_for(ahead_.directory(), (most_ + 2) * options_.segment_size)) return false;
    try {
      return fetch_wal(context_, options_.system_id, name, place);
    } catch (const std::exception&) {
      return false;
    }
  }

  const repository::Context& context_;
  const FetchedAhead& ahead_;
  const PrefetchOptions options_;
  const std::uint64_t most_;
  base::BoundedQueue<SegmentName> wanted_;
  base::Guarded<State> state_;
};

void remove_directory(const fs::path& directory) {
  for (const std::string& name : names_in(directory)) ::unlink((directory / name).c_str());
  ::rmdir(directory.c_str());
}

}  // namespace

void prefetch_wal(const repository::Context& context, const FetchedAhead& ahead,
                  const PrefetchOptions& options, const std::string& segment) {
  if (::mkdir(ahead.directory().c_str(), 0700) != 0 && errno != EEXIST) return;
  const base::UniqueFd position = base::open_file(ahead.position_file(), O_RDWR | O_CREAT);
  if (!lock(position)) return;
  constexpr int kLess = 5;  // replay first
  [[maybe_unused]] const int priority = ::nice(kLess);
  ahead.remove_all_but({}, {});
  base::write_at(position.get(), 0, base::as_bytes(segment), ahead.position_file());
  Prefetcher(context, ahead, options).run(position);
  remove_directory(ahead.directory());
}

void remove_fetched_ahead(const fs::path& pg_wal) {
  const fs::path directory = pg_wal / kDirectory;
  if (!is_there(directory)) return;
  const auto position = base::open_if_exists(directory / kPosition, O_RDWR);
  if (!position || lock(*position)) remove_directory(directory);
}

}  // namespace holdfast::postgres
