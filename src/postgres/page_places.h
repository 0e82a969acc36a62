// Where each page of a relation file stands in the repository: its extents, page by page. What an
// incremental backup changes in them, and which pages it stores anew though they did not change.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "repository/file_table.h"

namespace holdfast::postgres {

// What is stored together where it is changed together: a full backup cuts relation files at
// multiples of this.
inline constexpr std::uint32_t kChunkPages = 128;

// Pages of a file, by their numbers in it, ascending.
using PageNumbers = std::vector<std::uint32_t>;

class PagePlaces {
 public:
  struct Place {
    std::uint32_t chunk = 0;  // number in chunks()
    std::uint32_t page = 0;   // in the chunk
  };

  PagePlaces() = default;
  // Nullopt unless the extents are of whole pages at whole pages of their chunks.
  static std::optional<PagePlaces> of(std::span<const repository::Extent> extents,
                                      std::uint32_t page_size);

  std::uint32_t page_count() const { return static_cast<std::uint32_t>(places_.size()); }
  const Place& operator[](std::uint32_t page) const { return places_[page]; }
  // The chunk of number 0 is the range of zeros: its pages are zero whatever `page` says.
  const std::vector<repository::ChunkId>& chunks() const { return chunks_; }

  // Pages that are new stand in the range of zeros until set() says otherwise.
  void resize(std::uint32_t page_count) { places_.resize(page_count); }
  // The pages `numbers` (all below page_count()) stand in this chunk, one behind the other.
  void set(std::span<const std::uint32_t> numbers, const repository::ChunkId& chunk);

  std::vector<repository::Extent> extents(std::uint32_t page_size) const;

 private:
  std::uint32_t number_of(const repository::ChunkId& chunk);

  std::vector<Place> places_;
  std::vector<repository::ChunkId> chunks_ = {repository::ChunkId{}};
  std::unordered_map<repository::ChunkId, std::uint32_t> numbers_ = {{repository::ChunkId{}, 0}};
};

// Pages in a chunk; 0 where it is not known.
using ChunkPages = std::function<std::uint32_t(const repository::ChunkId&)>;

// What keeps restores fast after a thousand incrementals ("Scattered files" in
// docs/incremental.md). Adds to `taken`, pages that an incremental stores anew, those that go
// along although they did not change:
// - what is left in use of a chunk of which less than half is,
// - where the spans of more than 16 chunks overlap: the pages of the thinnest half of them,
// - the rest of an aligned group of 128 pages of which half is taken.
void add_scattered_pages(const PagePlaces& places, const ChunkPages& chunk_pages,
                         std::uint32_t page_count, PageNumbers& taken);

}  // namespace holdfast::postgres
