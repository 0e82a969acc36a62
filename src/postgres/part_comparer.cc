#include "postgres/part_comparer.h"

#include <algorithm>

#include "base/error.h"

namespace holdfast::postgres {
namespace {

using repository::ChunkKind;
using repository::ChunkLocation;

// `length` bytes of a part, from `skip` on.
Part piece(const Part& part, std::uint64_t skip, std::uint64_t length) {
  Part result = part;
  result.place += skip;
  result.extent.chunk_offset += static_cast<std::uint32_t>(skip);
  result.extent.length_bytes = length;
  return result;
}

}  // namespace

PartComparer::PartComparer(const repository::Context& context, const repository::Index& index,
                           repository::ChunkReader& reader)
    : index_(index), reader_(reader), hasher_(context.keyring.identity) {}

std::vector<Part> PartComparer::differing(std::span<const Part> parts, base::ByteView there) {
  std::vector<Part> result;
  for (const Part& part : parts) {
    compare(part, there.subspan(part.place, part.extent.length_bytes), result);
  }
  return result;
}

void PartComparer::compare(const Part& part, base::ByteView there, std::vector<Part>& differing) {
  if (part.extent.chunk.is_zero_range()) {
    if (!repository::all_zero(there)) differing.push_back(part);
    return;
  }
  const std::optional<ChunkLocation> location = index_.find(part.extent.chunk);
  // What is not there, or not long enough, is for the reader to report.
  const bool is_whole =
      location && part.extent.chunk_offset + part.extent.length_bytes <= location->length;
  if (is_whole && location->kind == ChunkKind::kPages &&
      compare_pages(part, location->length, there, differing)) {
    return;
  }
  if (!is_whole || !same_content(part, *location, there)) differing.push_back(part);
}

// False where the hashes do not help.
bool PartComparer::compare_pages(const Part& part, std::uint32_t chunk_length, base::ByteView there,
                                 std::vector<Part>& differing) {
  std::vector<std::uint64_t> hashes;
  try {
    hashes = reader_.page_hashes(part.extent.chunk);
  } catch (const base::Error& error) {
    if (error.kind() != base::ErrorKind::kDamaged) throw;
    return false;  // the chunk itself may still be good
  }
  if (hashes.empty()) return false;
  const std::size_t page_size = chunk_length / hashes.size();
  if (part.extent.chunk_offset % page_size != 0 || there.size() % page_size != 0) return false;
  const std::uint64_t* expected = hashes.data() + part.extent.chunk_offset / page_size;
  const std::size_t pages = there.size() / page_size;
  const auto is_equal = [&](std::size_t page) {
    return hasher_.short_hash_of_page(there.subspan(page * page_size, page_size)) == expected[page];
  };
  for (std::size_t page = 0; page < pages; ++page) {
    if (is_equal(page)) continue;
    const std::size_t first = page;
    while (page + 1 < pages && !is_equal(page + 1)) ++page;
    differing.push_back(piece(part, first * page_size, (page + 1 - first) * page_size));
    ++page;  // known to be equal, or the end
  }
  return true;
}

bool PartComparer::same_content(const Part& part, const ChunkLocation& location,
                                base::ByteView there) {
  if (location.kind == ChunkKind::kBytes && there.size() == location.length) {
    return hasher_.bytes_id(there) == part.extent.chunk;
  }
  const base::Bytes content = reader_.read(part.extent.chunk);
  return std::equal(there.begin(), there.end(), content.begin() + part.extent.chunk_offset);
}

}  // namespace holdfast::postgres
