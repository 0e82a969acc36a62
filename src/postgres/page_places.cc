#include "postgres/page_places.h"

#include <algorithm>
#include <set>

namespace holdfast::postgres {
namespace {

using repository::ChunkId;
using repository::Extent;

constexpr std::size_t kMostOverlapping = 16;

// How a file uses one of its chunks, without the pages that are taken.
struct Use {
  std::uint32_t chunk = 0;
  std::uint32_t first = UINT32_MAX;  // page of the file
  std::uint32_t last = 0;
  std::uint32_t pages = 0;
  bool given_up = false;

  bool is_thinner_than(const Use& other) const {
    const auto span = [](const Use& use) { return std::uint64_t{use.last - use.first} + 1; };
    return pages * span(other) < other.pages * span(*this);
  }
};

std::vector<Use> uses_of(const PagePlaces& places, const std::vector<bool>& taken,
                         std::uint32_t page_count) {
  std::vector<Use> uses(places.chunks().size());
  const std::uint32_t end = std::min(page_count, places.page_count());
  for (std::uint32_t page = 0; page < end; ++page) {
    if (taken[page]) continue;
    Use& use = uses[places[page].chunk];
    use.first = std::min(use.first, page);
    use.last = page;
    ++use.pages;
  }
  for (std::uint32_t i = 0; i < uses.size(); ++i) uses[i].chunk = i;
  return uses;
}

// Each page that goes along is paid for by one that was superseded: storing doubles at most.
void give_up_hollow(const PagePlaces& places, const ChunkPages& chunk_pages,
                    std::vector<Use>& uses) {
  for (std::size_t i = 1; i < uses.size(); ++i) {
    const std::uint32_t pages = chunk_pages(places.chunks()[i]);
    if (uses[i].pages > 0 && uses[i].pages * 2 < pages) uses[i].given_up = true;
  }
}

void give_up_thinnest_half(std::vector<Use*>& overlapping) {
  std::sort(overlapping.begin(), overlapping.end(),
            [](const Use* a, const Use* b) { return a->is_thinner_than(*b); });
  const auto half = overlapping.begin() + static_cast<std::ptrdiff_t>(overlapping.size() / 2);
  for (auto use = overlapping.begin(); use != half; ++use) (*use)->given_up = true;
  overlapping.erase(overlapping.begin(), half);
}

// A restore goes through the file and holds the chunks whose spans it is in. Merging the thinnest
// half gives layers that grow geometrically, so a page is merged a few times in its life.
void give_up_overlapping(std::vector<Use>& uses) {
  std::vector<Use*> by_first;
  for (std::size_t i = 1; i < uses.size(); ++i) {
    if (uses[i].pages > 0 && !uses[i].given_up) by_first.push_back(&uses[i]);
  }
  std::sort(by_first.begin(), by_first.end(),
            [](const Use* a, const Use* b) { return a->first < b->first; });
  std::vector<Use*> overlapping;
  for (Use* use : by_first) {
    std::erase_if(overlapping, [&](const Use* other) { return other->last < use->first; });
    overlapping.push_back(use);
    if (overlapping.size() > kMostOverlapping) give_up_thinnest_half(overlapping);
  }
}

void take_dense_groups(std::vector<bool>& taken) {
  for (std::size_t first = 0; first < taken.size(); first += kChunkPages) {
    const std::size_t end = std::min<std::size_t>(first + kChunkPages, taken.size());
    const auto begin = taken.begin() + static_cast<std::ptrdiff_t>(first);
    const auto stop = taken.begin() + static_cast<std::ptrdiff_t>(end);
    if (static_cast<std::size_t>(std::count(begin, stop, true)) * 2 >= end - first) {
      std::fill(begin, stop, true);
    }
  }
}

}  // namespace

std::optional<PagePlaces> PagePlaces::of(std::span<const Extent> extents, std::uint32_t page_size) {
  PagePlaces places;
  for (const Extent& extent : extents) {
    if (extent.length_bytes % page_size != 0 || extent.chunk_offset % page_size != 0) {
      return std::nullopt;
    }
    const std::uint32_t chunk = places.number_of(extent.chunk);
    auto page = static_cast<std::uint32_t>(extent.chunk_offset / page_size);
    for (std::uint64_t left = extent.length_bytes / page_size; left > 0; --left) {
      places.places_.push_back({chunk, chunk == 0 ? 0 : page++});
    }
  }
  return places;
}

std::uint32_t PagePlaces::number_of(const ChunkId& chunk) {
  const auto [place, is_new] =
      numbers_.try_emplace(chunk, static_cast<std::uint32_t>(chunks_.size()));
  if (is_new) chunks_.push_back(chunk);
  return place->second;
}

void PagePlaces::set(std::span<const std::uint32_t> numbers, const ChunkId& chunk) {
  const std::uint32_t number = number_of(chunk);
  std::uint32_t page = 0;
  for (const std::uint32_t at : numbers) places_[at] = {number, number == 0 ? 0 : page++};
}

std::vector<Extent> PagePlaces::extents(std::uint32_t page_size) const {
  std::vector<Extent> extents;
  const Place* previous = nullptr;
  for (const Place& place : places_) {
    const bool goes_on = previous != nullptr && previous->chunk == place.chunk &&
                         (place.chunk == 0 || previous->page + 1 == place.page);
    if (goes_on) {
      extents.back().length_bytes += page_size;
    } else {
      extents.push_back({page_size, chunks_[place.chunk], place.page * page_size});
    }
    previous = &place;
  }
  return extents;
}

void add_scattered_pages(const PagePlaces& places, const ChunkPages& chunk_pages,
                         std::uint32_t page_count, PageNumbers& taken) {
  std::vector<bool> is_taken(page_count);
  for (const std::uint32_t page : taken) is_taken[page] = true;
  std::vector<Use> uses = uses_of(places, is_taken, page_count);
  give_up_hollow(places, chunk_pages, uses);
  give_up_overlapping(uses);
  const std::uint32_t end = std::min(page_count, places.page_count());
  for (std::uint32_t page = 0; page < end; ++page) {
    if (uses[places[page].chunk].given_up) is_taken[page] = true;
  }
  take_dense_groups(is_taken);
  taken.clear();
  for (std::uint32_t page = 0; page < page_count; ++page) {
    if (is_taken[page]) taken.push_back(page);
  }
}

}  // namespace holdfast::postgres
