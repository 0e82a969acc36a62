#include "repository/old_content.h"

#include <algorithm>

#include "base/error.h"

namespace holdfast::repository {
namespace {

constexpr std::size_t kMost = 48 * 1024 * 1024;
constexpr std::size_t kMaxPiece = 4 * 1024 * 1024;
constexpr std::uint64_t kZerosAtOnce = 1024 * 1024;
constexpr std::uint64_t kBefore = 64 * 1024;  // read before a place that is jumped to

}  // namespace

OldContent::OldContent(const Context& context, const Index& index, const FileEntry& before)
    : reader_(context, index) {
  std::vector<Extent> extents;
  try {
    extents = load_extents(before, reader_);
  } catch (const base::Error& error) {
    if (error.kind() == base::ErrorKind::kInterrupted) throw;
  }
  for (const Extent& extent : extents) {
    if (!extent.chunk.is_zero_range() && !index.holds(extent.chunk, PackClass::kData)) continue;
    parts_.push_back({size_, extent});
    size_ += extent.length_bytes;
  }
}

base::ByteView OldContent::from(std::uint64_t place) const {
  return base::ByteView(buffer_).subspan(place - begin_);
}

void OldContent::fetch(std::uint64_t place, std::uint64_t ahead) {
  place = std::min(place, size_);
  if (place < begin_ || place > end()) {
    begin_ = place - std::min(place, kBefore);
    buffer_.clear();
    next_part_ = part_at(begin_);
  }
  while (end() < std::min(size_, place + ahead)) {
    if (buffer_.size() + kMaxPiece > kMost) {
      const std::uint64_t behind = std::min(place - begin_, kBehind);
      const std::uint64_t dropped = place - begin_ - behind;
      buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(dropped));
      begin_ += dropped;
    }
    load_next();
  }
}

void OldContent::load_next() {
  const Part& part = parts_[next_part_];
  Extent extent = part.extent;
  const std::uint64_t skipped = end() - part.begin;
  extent.length_bytes -= skipped;
  if (extent.chunk.is_zero_range()) {
    extent.length_bytes = std::min(extent.length_bytes, kZerosAtOnce);
    buffer_.resize(buffer_.size() + extent.length_bytes);
  } else {
    extent.chunk_offset += static_cast<std::uint32_t>(skipped);
    try {
      const base::ByteView content = chunks_.read(extent);
      if (buffer_.capacity() < kMost) buffer_.reserve(std::min(size_, std::uint64_t{kMost}));
      buffer_.insert(buffer_.end(), content.begin(), content.end());
    } catch (const base::Error& error) {
      if (error.kind() == base::ErrorKind::kInterrupted) throw;
      size_ = end();
      return;
    }
  }
  if (end() == part.begin + part.extent.length_bytes) ++next_part_;
}

std::size_t OldContent::part_at(std::uint64_t place) const {
  const auto behind =
      std::upper_bound(parts_.begin(), parts_.end(), place,
                       [](std::uint64_t wanted, const Part& part) { return wanted < part.begin; });
  return static_cast<std::size_t>(behind - parts_.begin()) - 1;
}

void OldContent::append_extents(std::uint64_t place, std::uint64_t length,
                                std::vector<Extent>& out) const {
  for (std::size_t n = part_at(place); length > 0; ++n) {
    Extent extent = parts_[n].extent;
    const std::uint64_t skipped = place - parts_[n].begin;
    extent.length_bytes = std::min(extent.length_bytes - skipped, length);
    if (!extent.chunk.is_zero_range()) extent.chunk_offset += static_cast<std::uint32_t>(skipped);
    place += extent.length_bytes;
    length -= extent.length_bytes;
    out.push_back(extent);
  }
}

}  // namespace holdfast::repository
