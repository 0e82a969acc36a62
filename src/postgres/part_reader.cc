#include "postgres/part_reader.h"

#include <algorithm>

namespace holdfast::postgres {

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
  const Part& first = *parts.front();
  if (parts.size() == 1 && first.extent.length_bytes == reader_.length(first.extent.chunk)) {
    reader_.read(first.extent.chunk, buffer.subspan(first.place));
    return;
  }
  for (const Part* part : parts) {
    const base::ByteView content = chunks_.read(part->extent);
    std::copy(content.begin(), content.end(), buffer.data() + part->place);
  }
}

}  // namespace holdfast::postgres
