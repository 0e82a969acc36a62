#include "repository/delta_writer.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

namespace holdfast::repository {
namespace {

constexpr std::size_t kMiB = 1024 * 1024;
constexpr std::size_t kGathered = 8 * kMiB;
// Looked up only with so much of the stream behind it, so that a match shows its length.
constexpr std::size_t kRoom = 64 * 1024;
constexpr std::size_t kFollowed = kMiB;  // of the old content at once
constexpr std::size_t kHistory = 4096;   // of the stream: how far a record may begin before
// A shorter run costs more as an extent than as a literal.
constexpr std::size_t kLeastRun = 256;
// A match that begins before the difference must lead beyond it.
constexpr std::size_t kLeastGain = 64;
constexpr std::size_t kNear = 16;  // records
// When nothing is found for so long, other places of the old content are looked at. Ahead it goes
// four times as fast as the stream: what was removed is passed by sooner or later. Back (or far
// ahead again) it jumps where the sample knows a record: what was inserted may have been passed by.
constexpr std::uint64_t kDriftEvery = 8 * kMiB;
constexpr int kDriftSteps = 2;  // of OldContent::kAhead
constexpr std::uint64_t kJumpAfter = kMiB;
constexpr std::uint64_t kJumpEvery = 4 * kMiB;
constexpr std::size_t kLeastMean = 256;
constexpr std::size_t kMostExtents = 2'000'000;  // bounds the memory; what follows is stored whole

// How many bytes both begin with.
std::size_t common_length(base::ByteView a, base::ByteView b) {
  constexpr std::size_t kBlock = 4096;
  const std::size_t size = std::min(a.size(), b.size());
  std::size_t same = 0;
  while (same + kBlock <= size && std::memcmp(&a[same], &b[same], kBlock) == 0) same += kBlock;
  while (same + 32 <= size && std::memcmp(&a[same], &b[same], 32) == 0) same += 32;
  while (same < size && a[same] == b[same]) ++same;
  return same;
}

}  // namespace

void Scatter::add(const Scatter& other) {
  bytes += other.bytes;
  extents += other.extents;
  chunk_bytes += other.chunk_bytes;
}

bool Scatter::is_too_much() const {
  return extents >= kMostExtents || bytes < extents * kLeastMean || chunk_bytes > bytes + bytes / 2;
}

DeltaWriter::DeltaWriter(const ContentCutter& cutter, ChunkStore::Writer& writer,
                         std::unique_ptr<OldContent> old)
    : literals_(cutter, writer), old_(old && old->size() > 0 ? std::move(old) : nullptr) {}

void DeltaWriter::write(base::ByteView bytes) {
  size_bytes_ += bytes.size();
  if (!old_) return literals_.write(bytes);
  while (!bytes.empty()) {
    const base::ByteView part = bytes.first(std::min(bytes.size(), kGathered - waiting_.size()));
    waiting_.insert(waiting_.end(), part.begin(), part.end());
    bytes = bytes.subspan(part.size());
    if (waiting_.size() == kGathered) {
      match(false);
      forget_matched();
    }
  }
}

std::vector<Extent> DeltaWriter::finish() {
  if (old_) {
    match(true);
    store_literals(waiting_.size());
  }
  const std::vector<Extent> literals = literals_.finish();
  if (!old_) {
    measure(literals, literals);
    return literals;
  }
  std::vector<Extent> extents;
  auto literal = literals.begin();
  std::uint64_t used = 0;  // of it
  for (const Piece& piece : pieces_) {
    if (!piece.is_literal) append_extent(extents, piece.extent);
    for (std::uint64_t left = piece.is_literal ? piece.extent.length_bytes : 0; left > 0;) {
      Extent part = *literal;
      part.length_bytes = std::min(left, literal->length_bytes - used);
      if (!part.chunk.is_zero_range()) part.chunk_offset += static_cast<std::uint32_t>(used);
      append_extent(extents, part);
      left -= part.length_bytes;
      used += part.length_bytes;
      if (used == literal->length_bytes) {
        ++literal;
        used = 0;
      }
    }
  }
  measure(extents, literals);
  return extents;
}

void DeltaWriter::measure(const std::vector<Extent>& extents, const std::vector<Extent>& literals) {
  scatter_.bytes = size_bytes_;
  std::unordered_map<ChunkId, std::uint64_t> lengths;
  for (const Extent& extent : literals) lengths[extent.chunk] = extent.length_bytes;
  for (const Extent& extent : extents) {
    if (extent.chunk.is_zero_range()) continue;
    ++scatter_.extents;
    if (!lengths.contains(extent.chunk)) {
      lengths[extent.chunk] = old_->chunk_length(extent.chunk);
    }
  }
  for (const auto& [chunk, length] : lengths) {
    if (!chunk.is_zero_range()) scatter_.chunk_bytes += length;
  }
}

void DeltaWriter::match(bool to_the_end) {
  if (pieces_.size() >= kMostExtents) {
    searching_ = true;
    at_ = waiting_.size();
  }
  while (at_ < waiting_.size() && (searching_ ? search(to_the_end) : follow())) {
  }
}

// All that is decided, but for a little of it.
void DeltaWriter::forget_matched() {
  if (searching_ && at_ > literals_begin_) store_literals(at_);
  const std::size_t needed = std::min(at_, literals_begin_);
  const std::size_t forgotten = needed - std::min(needed, kHistory);
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(forgotten));
  at_ -= forgotten;
  literals_begin_ -= forgotten;
}

// The run goes on as long as both are the same. True where they part.
bool DeltaWriter::follow() {
  while (at_ < waiting_.size()) {
    old_->fetch(run_.end(), kFollowed);
    const base::ByteView stream = base::ByteView(waiting_).subspan(at_);
    const base::ByteView old =
        run_.end() < old_->size() ? old_->from(run_.end()) : base::ByteView();
    const std::size_t same = common_length(stream, old);
    run_.length += same;
    at_ += same;
    literals_begin_ = at_;
    if (same < stream.size() && (same < old.size() || old.empty())) {
      part();
      return true;
    }
  }
  return false;
}

// The record in which they part begins before: it may stand elsewhere as a whole.
void DeltaWriter::part() {
  const std::size_t most = std::min({run_.length, std::uint64_t{kHistory}, std::uint64_t{at_}});
  const void* const line_end = ::memrchr(waiting_.data() + at_ - most, '\n', most);
  const std::size_t begun =
      line_end == nullptr ? 0
                          : at_ - 1 -
                                static_cast<std::size_t>(
                                    static_cast<const std::uint8_t*>(line_end) - waiting_.data());
  searching_ = true;
  unfound_ = 0;
  next_drift_ = kDriftEvery;
  next_jump_ = kJumpAfter;
  diagonal_ = run_.end();
  at_ -= begun;
  look_around(run_.end() - begun);
}

void DeltaWriter::look_around(std::uint64_t place) {
  old_->fetch(place, OldContent::kAhead);
  expected_ = std::min(place, old_->size());
  const std::uint64_t low = expected_ - std::min(expected_, OldContent::kBehind);
  const base::ByteView stretch = old_->from(old_->begin());
  records_.extend(stretch, old_->begin(), low, old_->end() == old_->size());
  near_.clear();
  std::size_t at = expected_ - old_->begin();
  for (std::size_t n = 0; n < kNear && at < stretch.size(); ++n) {
    near_.push_back(old_->begin() + at);
    at = next_record(stretch, at);
  }
}

// True where a run begins; false where more of the stream is needed.
bool DeltaWriter::search(bool to_the_end) {
  while (at_ < waiting_.size()) {
    if (!to_the_end && waiting_.size() - at_ < kRoom) return false;
    if (find_at(at_)) return true;
    at_ = next_record(waiting_, std::max(at_, literals_begin_));
    if (unfound_ + at_ - literals_begin_ >= next_drift_) drift();
  }
  return false;
}

void DeltaWriter::drift() {
  next_drift_ += kDriftEvery;
  for (int i = 0; i < kDriftSteps && expected_ < old_->size(); ++i) {
    look_around(std::min(expected_ + OldContent::kAhead, old_->end()));
  }
}

bool DeltaWriter::find_at(std::size_t at) {
  const base::ByteView key = key_at(waiting_, at);
  if (key.size() < kLeastKey) return false;
  if (at >= literals_begin_ && begin_run_if_same(at, diagonal_ + at - literals_begin_)) return true;
  for (const std::uint64_t place : near_) {
    if (begin_run_if_same(at, place)) return true;
  }
  const std::uint64_t hash = hash_of(key);
  records_.find(hash, old_->begin(), expected_, places_);
  for (const std::uint64_t place : places_) {
    if (begin_run_if_same(at, place)) return true;
  }
  return RecordIndex::is_sampled(hash) && find_sampled(at, hash);
}

bool DeltaWriter::find_sampled(std::size_t at, std::uint64_t hash) {
  if (at < literals_begin_ || unfound_ + at - literals_begin_ < next_jump_) return false;
  const std::uint64_t* const known = records_.sampled(hash);
  if (known == nullptr) return false;
  next_jump_ = unfound_ + at - literals_begin_ + kJumpEvery;
  const std::uint64_t place = *known;
  if (place < old_->begin() || place > old_->end()) records_.restart();
  look_around(place);
  return begin_run_if_same(at, place);
}

bool DeltaWriter::begin_run_if_same(std::size_t at, std::uint64_t place) {
  if (place < old_->begin() || place >= old_->end()) return false;
  const base::ByteView stream = base::ByteView(waiting_).subspan(at);
  const std::size_t same = common_length(stream, old_->from(place));
  const bool is_all = same == stream.size() && same >= kLeastKey && at + same > literals_begin_;
  if (!is_all && (same < kLeastRun || at + same < literals_begin_ + kLeastGain)) return false;
  begin_run(at, place);
  return true;
}

void DeltaWriter::begin_run(std::size_t at, std::uint64_t place) {
  // Of the literals before it, the last ones may be the same too.
  const base::ByteView before = old_->from(old_->begin()).first(place - old_->begin());
  std::size_t same = 0;
  while (at - same > literals_begin_ && same < before.size() &&
         waiting_[at - same - 1] == before[before.size() - same - 1]) {
    ++same;
  }
  at -= same;
  place -= same;
  if (at < literals_begin_) {
    run_.length -= literals_begin_ - at;
    literals_begin_ = at;
  }
  store_literals(at);
  run_ = {place, 0};
  at_ = at;
  searching_ = false;
}

void DeltaWriter::store_run() {
  if (run_.length < kLeastRun && run_.length <= literals_begin_) {
    literals_begin_ -= run_.length;
  } else {
    extents_.clear();
    old_->append_extents(run_.place, run_.length, extents_);
    for (const Extent& extent : extents_) pieces_.push_back({extent, false});
  }
  run_ = {};
}

void DeltaWriter::store_literals(std::size_t end) {
  if (run_.length > 0) store_run();
  const base::ByteView literals =
      base::ByteView(waiting_).subspan(literals_begin_, end - literals_begin_);
  if (literals.empty()) return;
  literals_.write(literals);
  unfound_ += literals.size();
  diagonal_ += literals.size();
  literals_begin_ = end;
  if (pieces_.empty() || !pieces_.back().is_literal) pieces_.push_back({{}, true});
  pieces_.back().extent.length_bytes += literals.size();
}

}  // namespace holdfast::repository
