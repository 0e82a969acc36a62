#include "storage/s3/read_ahead.h"

#include <algorithm>
#include <cstring>

namespace holdfast::storage::s3 {
namespace {

// Judged by so much at a time; what was longer ago counts for less.
constexpr std::uint64_t kTrialBytes = std::uint64_t{48} * 1024 * 1024;
constexpr std::uint64_t kMemoryBytes = std::uint64_t{128} * 1024 * 1024;
constexpr std::uint64_t kLeastUsedPercent = 35;
// Then blocks are tried again.
constexpr int kPiecesBeforeAnotherTrial = 100;
constexpr std::size_t kTrails = 256;  // objects that are read at a time, by all threads
constexpr int kManyPieces = 5;
constexpr std::size_t kEndsOfATrail = 16;  // threads that read one object, and their seeks

}  // namespace

bool ReadAhead::State::is_wasteful() const {
  return fetched_bytes >= kTrialBytes && used_bytes * 100 < fetched_bytes * kLeastUsedPercent;
}

// A new one where there is none; the one that was not used for longest goes.
ReadAhead::Trail& ReadAhead::State::trail(const std::string& name) {
  const auto found = std::find_if(trails.begin(), trails.end(),
                                  [&](const Trail& trail) { return trail.name == name; });
  if (found != trails.end()) {
    trails.splice(trails.begin(), trails, found);
  } else {
    if (trails.size() >= kTrails) trails.pop_back();
    trails.push_front({name});
  }
  return trails.front();
}

// Whether a piece begins where another one ended, or is one of many; notes its own end.
bool ReadAhead::State::goes_on(const std::string& name, std::uint64_t offset, std::size_t size,
                               std::size_t gap_bytes) {
  Trail& trail = this->trail(name);
  std::list<std::uint64_t>& ends = trail.ends;
  const auto before = std::find_if(ends.begin(), ends.end(), [&](std::uint64_t end) {
    return offset >= end && offset - end <= gap_bytes;
  });
  const bool found = before != ends.end();
  if (found) {
    ends.erase(before);
  } else if (ends.size() >= kEndsOfATrail) {
    ends.pop_back();
  }
  ends.push_front(offset + size);
  return ++trail.pieces >= kManyPieces || found;
}

ReadAhead::ReadAhead(Fetch fetch, ReadAheadLimits limits)
    : fetch_(std::move(fetch)), limits_(limits), ahead_(limits.blocks + 1) {}

ReadAhead::~ReadAhead() {
  ahead_.close();
  auto threads = threads_.lock();
  for (std::jthread& thread : *threads) thread.request_stop();
  threads->clear();
}

std::optional<std::size_t> ReadAhead::read(const std::string& name, std::uint64_t offset,
                                           base::MutableByteView buffer) {
  if (!goes_by_blocks(name, offset, buffer.size())) {
    const std::optional<Piece> piece = fetch_(name, offset, buffer);
    if (!piece) return std::nullopt;
    note(name, *piece, false);
    return piece->size;
  }
  std::size_t done = 0;
  while (done < buffer.size()) {
    const std::uint64_t at = offset + done;
    const std::uint64_t number = at / limits_.block_bytes;
    const Key key(name, number);
    Wanted wanted = want(key);
    fetch_ahead(name, number);
    if (wanted.ours) fetch(key, std::move(wanted.promise));
    const Content content = wanted.content.get();
    if (!content) return std::nullopt;
    const std::size_t skip = at - number * limits_.block_bytes;
    const base::Bytes& bytes = content->bytes;
    if (skip >= bytes.size()) break;
    const std::size_t count = std::min(buffer.size() - done, bytes.size() - skip);
    std::memcpy(buffer.data() + done, bytes.data() + skip, count);
    done += count;
    if (content->is_last) break;
  }
  state_.lock()->used_bytes += done;
  return done;
}

bool ReadAhead::goes_by_blocks(const std::string& name, std::uint64_t offset, std::size_t size) {
  auto state = state_.lock();
  const bool goes_on = state->goes_on(name, offset, size, limits_.gap_bytes);
  if (state->blocks.contains({name, offset / limits_.block_bytes})) return true;
  if (!goes_on && size < limits_.block_bytes) return false;
  if (!state->is_wasteful()) return true;
  if (++state->pieces < kPiecesBeforeAnotherTrial) return false;
  state->pieces = 0;
  state->fetched_bytes = 0;
  state->used_bytes = 0;
  return true;
}

ReadAhead::Wanted ReadAhead::want(const Key& key) {
  auto state = state_.lock();
  const auto found = state->blocks.find(key);
  if (found == state->blocks.end()) {
    Wanted wanted = insert(*state, key);
    state->blocks[key].reads = 1;
    return wanted;
  }
  ++found->second.reads;
  state->order.splice(state->order.begin(), state->order, found->second.place);
  Wanted wanted;
  wanted.content = found->second.content;
  return wanted;
}

ReadAhead::Wanted ReadAhead::insert(State& state, const Key& key) {
  make_room(state);
  Wanted wanted;
  wanted.content = wanted.promise.get_future().share();
  wanted.ours = true;
  state.order.push_front(key);
  state.blocks[key] = {wanted.content, state.order.begin(), 0};
  return wanted;
}

// A block that is under way is kept by those who wait for it.
void ReadAhead::make_room(State& state) {
  while (state.order.size() >= limits_.blocks) {
    state.blocks.erase(state.order.back());
    state.order.pop_back();
  }
}

void ReadAhead::note(const std::string& name, const Piece& piece, bool in_block) {
  auto state = state_.lock();
  if (piece.object_size > 0) state->trail(name).object_size = piece.object_size;
  if (!in_block) return;
  state->fetched_bytes += piece.size;
  if (state->fetched_bytes > kMemoryBytes) {
    state->fetched_bytes /= 2;
    state->used_bytes /= 2;
  }
}

// Keeps the promise, whatever happens.
void ReadAhead::fetch(const Key& key, std::promise<Content> promise) {
  try {
    auto stretch = std::make_shared<Stretch>();
    stretch->bytes.resize(limits_.block_bytes);
    const std::uint64_t begin = key.second * limits_.block_bytes;
    const auto piece = fetch_(key.first, begin, stretch->bytes);
    if (piece) {
      stretch->bytes.resize(piece->size);
      stretch->is_last =
          piece->size < limits_.block_bytes || begin + piece->size == piece->object_size;
      note(key.first, *piece, true);
    } else {
      drop(key);
    }
    promise.set_value(piece ? Content(std::move(stretch)) : nullptr);
  } catch (...) {
    drop(key);
    promise.set_exception(std::current_exception());
  }
}

void ReadAhead::drop(const Key& key) {
  auto state = state_.lock();
  const auto found = state->blocks.find(key);
  if (found == state->blocks.end()) return;
  state->order.erase(found->second.place);
  state->blocks.erase(found);
}

void ReadAhead::forget(const std::string& name) {
  auto state = state_.lock();
  for (auto at = state->blocks.lower_bound({name, 0});
       at != state->blocks.end() && at->first.first == name;) {
    state->order.erase(at->second.place);
    at = state->blocks.erase(at);
  }
}

// The next block, where this one is read on: more than once, or behind the one before.
void ReadAhead::fetch_ahead(const std::string& name, std::uint64_t number) {
  std::shared_ptr<std::promise<Content>> promise;
  const Key next(name, number + 1);
  {
    auto state = state_.lock();
    const auto block = state->blocks.find({name, number});
    const bool reads_on =
        block != state->blocks.end() &&
        (block->second.reads > 1 || (number > 0 && state->blocks.contains({name, number - 1})));
    const bool is_last = next.second * limits_.block_bytes >= state->trail(name).object_size;
    if (!reads_on || is_last || state->is_wasteful() || state->blocks.contains(next)) return;
    promise = std::make_shared<std::promise<Content>>(std::move(insert(*state, next).promise));
  }
  start_threads();
  if (!ahead_.push({next, std::move(promise)}, {})) drop(next);
}

void ReadAhead::start_threads() {
  auto threads = threads_.lock();
  if (!threads->empty()) return;
  for (int i = 0; i < limits_.threads; ++i) {
    threads->emplace_back([this](const std::stop_token& stop) {
      while (auto task = ahead_.pop(stop)) fetch(task->first, std::move(*task->second));
    });
  }
}

}  // namespace holdfast::storage::s3
