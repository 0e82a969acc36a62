#include "repository/record_index.h"

#include <algorithm>
#include <cstring>
#include <tuple>

namespace holdfast::repository {
namespace {

constexpr std::size_t kLongLine = 4096;
constexpr std::size_t kEntries = 1 << 20;
constexpr std::size_t kHeads = 1 << 20;
constexpr std::size_t kLeastDistance = 64;
constexpr std::size_t kLookedAt = 32;
constexpr std::size_t kMostSampled = 1 << 18;
constexpr std::uint64_t kFactor = 0x9e3779b97f4a7c15;

template <typename Word>
Word load(const std::uint8_t* bytes) {
  Word word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

// One place in 1,024 of bytes that are as good as random.
bool begins_record(const std::uint8_t* bytes) {
  return ((load<std::uint32_t>(bytes) + 1) * 0x9e3779b1U) >> 22 == 0;
}

}  // namespace

std::size_t next_record(base::ByteView content, std::size_t from) {
  while (from < content.size()) {
    const std::size_t size = std::min(content.size() - from, kLongLine);
    const std::uint8_t* const begin = content.data() + from;
    if (const void* end = std::memchr(begin, '\n', size)) {
      return from + static_cast<std::size_t>(static_cast<const std::uint8_t*>(end) - begin) + 1;
    }
    for (std::size_t i = kLeastDistance; i + sizeof(std::uint32_t) <= size; ++i) {
      if (begins_record(begin + i)) return from + i;
    }
    from += size;
  }
  return content.size();
}

base::ByteView key_at(base::ByteView content, std::size_t place) {
  const base::ByteView most = content.subspan(place, std::min(content.size() - place, kMostKey));
  if (most.size() < kLeastKey) return most;
  const auto end = std::find(most.begin() + kLeastKey - 1, most.end(), std::uint8_t{'\n'});
  const auto size = static_cast<std::size_t>(end - most.begin());
  return most.first(std::min(size + 1, most.size()));
}

std::uint64_t hash_of(base::ByteView key) {
  std::uint64_t hash = key.size() * kFactor;
  const auto mix = [&](std::uint64_t word) {
    hash = (hash ^ word) * kFactor;
    hash ^= hash >> 29;
  };
  std::size_t at = 0;
  for (; at + 8 <= key.size(); at += 8) mix(load<std::uint64_t>(key.data() + at));
  std::uint64_t rest = 0;
  std::memcpy(&rest, key.data() + at, key.size() - at);
  mix(rest);
  mix(hash >> 32);
  return hash;
}

void RecordIndex::extend(base::ByteView stretch, std::uint64_t begin, std::uint64_t low,
                         bool to_the_end) {
  if (entries_.empty()) {
    entries_.resize(kEntries);
    heads_.resize(kHeads);
  }
  if (next_ < std::max(low, begin)) {
    next_ = std::max(low, begin);
    if (next_ > 0) next_ = begin + next_record(stretch, next_ - begin);
  }
  std::size_t at = next_ - begin;
  while (at + (to_the_end ? kLeastKey : kMostKey) <= stretch.size()) {
    add(hash_of(key_at(stretch, at)), begin + at);
    const std::size_t least = at + kLeastDistance;
    do {
      at = next_record(stretch, at);
    } while (at < std::min(least, stretch.size()));
  }
  next_ = begin + at;
}

void RecordIndex::restart() {
  std::fill(heads_.begin(), heads_.end(), 0);
  last_ = 0;
  next_ = 0;
}

void RecordIndex::add(std::uint64_t hash, std::uint64_t place) {
  if (last_ == UINT32_MAX) {
    std::fill(heads_.begin(), heads_.end(), 0);
    last_ = 0;
  }
  std::uint32_t& head = heads_[hash % kHeads];
  entries_[++last_ % kEntries] = {place, head, static_cast<std::uint32_t>(hash >> 32)};
  head = last_;
  if (is_sampled(hash) && sample_.size() < kMostSampled) sample_.insert_or_assign(hash, place);
}

void RecordIndex::find(std::uint64_t hash, std::uint64_t low, std::uint64_t expected,
                       std::vector<std::uint64_t>& places) const {
  places.clear();
  if (entries_.empty()) return;
  std::uint32_t number = heads_[hash % kHeads];
  for (std::size_t n = 0; n < kLookedAt && number != 0 && last_ - number < kEntries; ++n) {
    const Entry& entry = entries_[number % kEntries];
    if (entry.place < low) break;
    if (entry.check == static_cast<std::uint32_t>(hash >> 32)) places.push_back(entry.place);
    number = entry.before;
  }
  std::sort(places.begin(), places.end(), [&](std::uint64_t a, std::uint64_t b) {
    const auto distance = [&](std::uint64_t place) {
      return std::tuple(place < expected, place < expected ? expected - place : place - expected);
    };
    return distance(a) < distance(b);
  });
}

const std::uint64_t* RecordIndex::sampled(std::uint64_t hash) const {
  const auto found = sample_.find(hash);
  return found == sample_.end() ? nullptr : &found->second;
}

}  // namespace holdfast::repository
