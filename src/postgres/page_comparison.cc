#include "postgres/page_comparison.h"

#include "base/error.h"
#include "storage/storage_class.h"

namespace holdfast::postgres {

using base::ByteView;
using base::MutableByteView;

PageComparison::PageComparison(const repository::Context& context, const repository::Index& index,
                               const ClusterInfo& cluster)
    : index_(index),
      cluster_(cluster),
      page_size_(cluster.block_size),
      reader_(context, index),
      hasher_(context.keyring.identity) {}

bool PageComparison::open(const repository::FileEntry& before) {
  if (open_ == &before) return static_cast<bool>(fd_);
  open_ = nullptr;
  fd_.reset();
  hashes_.clear();
  auto places = PagePlaces::of(repository::load_extents(before, reader_),
                               static_cast<std::uint32_t>(page_size_));
  open_ = &before;
  if (!places) return false;
  places_ = std::move(*places);
  source_ = std::filesystem::path(cluster_.data_directory) / before.path;
  std::optional<base::UniqueFd> fd = base::open_if_exists(source_, O_RDONLY);
  if (fd) fd_ = std::move(*fd);
  return fd.has_value();
}

MutableByteView PageComparison::read(std::uint32_t first, MutableByteView pages) const {
  const std::size_t got =
      base::read_at(fd_.get(), std::uint64_t{first} * page_size_, pages, source_);
  return pages.first(got - got % page_size_);
}

bool PageComparison::is_as_before(std::uint32_t page, ByteView content) {
  if (page >= places_.page_count()) return false;
  const PagePlaces::Place place = places_[page];
  if (place.chunk == 0) return repository::all_zero(content);
  if (hashes_.size() >= kHashesKept && !hashes_.contains(place.chunk)) hashes_.clear();
  const auto [entry, is_new] = hashes_.try_emplace(place.chunk);
  if (is_new) entry->second = hashes_of(places_.chunks()[place.chunk]);
  return place.page < entry->second.size() &&
         entry->second[place.page] == hasher_.short_hash_of_page(content);
}

// They stand in the pack that holds the chunk.
std::vector<std::uint64_t> PageComparison::hashes_of(const repository::ChunkId& chunk) {
  const auto location = index_.find(chunk);
  if (location && storage::may_be_frozen(index_.pack(location->pack).storage_class)) {
    throw base::Error(base::ErrorKind::kRefused,
                      "the backup before is in cold storage: its pages cannot be compared with");
  }
  return reader_.page_hashes(chunk);
}

ByteView PageComparison::content_before(std::uint32_t page) {
  if (page >= places_.page_count()) return {};
  const PagePlaces::Place place = places_[page];
  const repository::ChunkId& id = places_.chunks()[place.chunk];
  if (place.chunk == 0) {
    chunk_.assign(page_size_, 0);
    unpacked_ = {};
    return chunk_;
  }
  if (unpacked_ != id) {
    chunk_ = reader_.read(id);
    unpacked_ = id;
  }
  return ByteView(chunk_).subspan(place.page * page_size_, page_size_);
}

}  // namespace holdfast::postgres
