#include "repository/content_writer.h"

#include "repository/chunk_hash.h"

namespace holdfast::repository {
namespace {

// So much is gathered before anything is cut: what is left of it each time is moved to the front.
constexpr std::size_t kGathered = 4 * ContentCutter::kMost;

}  // namespace

void append_extent(std::vector<Extent>& extents, const Extent& extent) {
  if (extent.length_bytes == 0) return;
  if (!extents.empty()) {
    Extent& last = extents.back();
    const bool goes_on = last.chunk == extent.chunk &&
                         (extent.chunk.is_zero_range() ||
                          last.chunk_offset + last.length_bytes == extent.chunk_offset);
    if (goes_on) {
      last.length_bytes += extent.length_bytes;
      return;
    }
  }
  extents.push_back(extent);
}

Extent store_chunk(base::ByteView content, ChunkStore::Writer& writer) {
  if (all_zero(content)) return {content.size(), {}, 0};
  return {content.size(), writer.put_bytes(content), 0};
}

ContentWriter::ContentWriter(const ContentCutter& cutter, ChunkStore::Writer& writer)
    : cutter_(cutter), writer_(writer) {
  waiting_.reserve(kGathered);
}

void ContentWriter::write(base::ByteView bytes) {
  size_bytes_ += bytes.size();
  while (!bytes.empty()) {
    const base::ByteView part = bytes.first(std::min(bytes.size(), kGathered - waiting_.size()));
    waiting_.insert(waiting_.end(), part.begin(), part.end());
    bytes = bytes.subspan(part.size());
    if (waiting_.size() == kGathered) cut(false);
  }
}

std::vector<Extent> ContentWriter::finish() {
  cut(true);
  return std::move(extents_);
}

void ContentWriter::cut(bool to_the_end) {
  base::ByteView rest = waiting_;
  while (to_the_end ? !rest.empty() : rest.size() >= ContentCutter::kMost) {
    const base::ByteView chunk = rest.first(cutter_.first_chunk(rest));
    append_extent(extents_, store_chunk(chunk, writer_));
    rest = rest.subspan(chunk.size());
  }
  waiting_.erase(waiting_.begin(), waiting_.end() - static_cast<std::ptrdiff_t>(rest.size()));
}

}  // namespace holdfast::repository
