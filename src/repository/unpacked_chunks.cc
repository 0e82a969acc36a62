#include "repository/unpacked_chunks.h"

#include <algorithm>

#include "base/error.h"

namespace holdfast::repository {
namespace {

constexpr std::size_t kKeptBytes = 32 * 1024 * 1024;

}  // namespace

base::ByteView UnpackedChunks::read(const Extent& extent) {
  const auto known = places_.find(extent.chunk);
  const bool is_kept = known != places_.end();
  const std::size_t length = is_kept ? known->second->content.size() : reader_.length(extent.chunk);
  if (extent.chunk_offset + extent.length_bytes > length) {
    throw base::Error(base::ErrorKind::kDamaged, "an extent reaches beyond its chunk");
  }
  if (is_kept) kept_.splice(kept_.begin(), kept_, known->second);
  const bool is_whole = extent.length_bytes == length || extent.chunk == whole_id_;
  const base::ByteView content = is_kept    ? base::ByteView(kept_.front().content)
                                 : is_whole ? read_whole(extent.chunk, length)
                                            : keep(extent.chunk, length);
  return content.subspan(extent.chunk_offset, extent.length_bytes);
}

base::ByteView UnpackedChunks::read_whole(const ChunkId& id, std::size_t length) {
  if (whole_id_ != id) {
    whole_id_ = {};
    if (whole_.size() < length) whole_.resize(length);
    reader_.read(id, whole_);
    whole_id_ = id;
  }
  return base::ByteView(whole_).first(length);
}

base::ByteView UnpackedChunks::keep(const ChunkId& id, std::size_t length) {
  base::Bytes content;
  while (!kept_.empty() && kept_bytes_ + length > kKeptBytes) {
    content = std::move(kept_.back().content);  // its memory is used again
    kept_bytes_ -= content.size();
    places_.erase(kept_.back().id);
    kept_.pop_back();
  }
  content.resize(length);
  reader_.read(id, content);
  kept_.push_front({id, std::move(content)});
  places_[id] = kept_.begin();
  kept_bytes_ += length;
  return kept_.front().content;
}

}  // namespace holdfast::repository
