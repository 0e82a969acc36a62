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

}  // namespace

bool ReadAhead::State::is_wasteful() const {
  return fetched_bytes >= kTrialBytes && used_bytes * 100 < fetched_bytes * kLeastUsedPercent;
}

ReadAhead::ReadAhead(Fetch fetch, ReadAheadLimits limits)
    : fetch_(std::move(fetch)), limits_(limits), ahead_(limits.blocks + 1) {}

ReadAhead::~ReadAhead() {
  ahead_.close();
  threads_.lock()->clear();
}

std::optional<std::size_t> ReadAhead::read(const std::string& name, std::uint64_t offset,
                                           base::MutableByteView buffer) {
  if (!goes_by_blocks(name, offset, buffer.size())) return fetch_(name, offset, buffer);
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
    if (skip >= content->size()) break;
    const std::size_t count = std::min(buffer.size() - done, content->size() - skip);
    std::memcpy(buffer.data() + done, content->data() + skip, count);
    done += count;
    if (content->size() < limits_.block_bytes) break;  // the object's end
  }
  state_.lock()->used_bytes += done;
  return done;
}

bool ReadAhead::goes_by_blocks(const std::string& name, std::uint64_t offset, std::size_t size) {
  auto state = state_.lock();
  if (state->blocks.contains({name, offset / limits_.block_bytes})) return true;
  if (size < limits_.small_bytes && offset != 0) return false;
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

// Keeps the promise, whatever happens.
void ReadAhead::fetch(const Key& key, std::promise<Content> promise) {
  try {
    auto bytes = std::make_shared<base::Bytes>(limits_.block_bytes);
    const auto size = fetch_(key.first, key.second * limits_.block_bytes, *bytes);
    if (size) {
      bytes->resize(*size);
      auto state = state_.lock();
      state->fetched_bytes += *size;
      if (state->fetched_bytes > kMemoryBytes) {
        state->fetched_bytes /= 2;
        state->used_bytes /= 2;
      }
    } else {
      drop(key);
    }
    promise.set_value(size ? Content(std::move(bytes)) : nullptr);
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

// A block that failed is dropped before its promise is kept, so this does not throw.
bool ReadAhead::is_last(const Block& block) const {
  if (block.content.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return false;
  const Content content = block.content.get();
  return !content || content->size() < limits_.block_bytes;
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
    if (!reads_on || is_last(block->second) || state->is_wasteful() ||
        state->blocks.contains(next)) {
      return;
    }
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
