#include "postgres/part_reader.h"

#include <algorithm>

#include "base/error.h"

namespace holdfast::postgres {
namespace {

using repository::ChunkId;

constexpr std::size_t kKeptBytes = 32 * 1024 * 1024;

}  // namespace

// Chunk by chunk, in the order in which the parts name them first.
void PartReader::read(std::span<const Part> parts, base::MutableByteView buffer) {
  ranks_.clear();
  order_.clear();
  for (const Part& part : parts) {
    if (part.extent.chunk.is_zero_range()) {
      const auto place = buffer.subspan(part.place, part.extent.length_bytes);
      std::fill(place.begin(), place.end(), std::uint8_t{0});
      continue;
    }
    order_.emplace_back(ranks_.try_emplace(part.extent.chunk, ranks_.size()).first->second, &part);
  }
  std::stable_sort(order_.begin(), order_.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (std::size_t at = 0; at < order_.size();) {
    of_chunk_.clear();
    const std::size_t rank = order_[at].first;
    for (; at < order_.size() && order_[at].first == rank; ++at) {
      of_chunk_.push_back(order_[at].second);
    }
    read_chunk(of_chunk_, buffer);
  }
}

void PartReader::read_chunk(std::span<const Part* const> parts, base::MutableByteView buffer) {
  const ChunkId& id = parts.front()->extent.chunk;
  const std::size_t length = reader_.length(id);
  for (const Part* part : parts) {
    if (part->extent.chunk_offset + part->extent.length_bytes > length) {
      throw base::Error(base::ErrorKind::kDamaged, "an extent reaches beyond its chunk");
    }
  }
  if (parts.size() == 1 && parts.front()->extent.length_bytes == length) {
    reader_.read(id, buffer.subspan(parts.front()->place));
    return;
  }
  const base::Bytes& content = unpacked(id);
  for (const Part* part : parts) {
    std::copy_n(content.data() + part->extent.chunk_offset, part->extent.length_bytes,
                buffer.data() + part->place);
  }
}

const base::Bytes& PartReader::unpacked(const ChunkId& id) {
  if (const auto known = places_.find(id); known != places_.end()) {
    kept_.splice(kept_.begin(), kept_, known->second);
    return kept_.front().content;
  }
  const std::size_t length = reader_.length(id);
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

}  // namespace holdfast::postgres
