#include "postgres/page_verifier.h"

#include <array>
#include <chrono>
#include <thread>

#include "base/file.h"
#include "postgres/page.h"

namespace holdfast::postgres {
namespace {

// A page that the server is just writing is whole within milliseconds.
constexpr std::array<std::chrono::milliseconds, 5> kRereadAfter = {
    std::chrono::milliseconds(0), std::chrono::milliseconds(2), std::chrono::milliseconds(10),
    std::chrono::milliseconds(50), std::chrono::milliseconds(250)};

}  // namespace

void PageVerifier::verify(const ClusterFile& file, int fd, std::uint64_t offset,
                          base::MutableByteView pages) {
  if (!cluster_.checksums) return;
  const std::uint32_t first =
      file.first_block + static_cast<std::uint32_t>(offset / cluster_.block_size);
  suspects_.clear();
  find_bad_pages(pages, cluster_.block_size, first, suspects_);
  for (const std::uint32_t block : suspects_) {
    const std::uint64_t place = std::uint64_t{block - first} * cluster_.block_size;
    const base::MutableByteView page = pages.subspan(place, cluster_.block_size);
    if (!becomes_good(file, fd, offset + place, page, block)) {
      bad_pages_.lock()->push_back({file.path, block});
    }
  }
}

bool PageVerifier::becomes_good(const ClusterFile& file, int fd, std::uint64_t offset,
                                base::MutableByteView page, std::uint32_t block) const {
  for (const std::chrono::milliseconds wait : kRereadAfter) {
    std::this_thread::sleep_for(wait);
    const std::size_t got = base::read_at(fd, offset, page, file.source);
    if (got < page.size()) return true;  // cut off meanwhile: the WAL knows
    if (check_page(page, block) != PageState::kBad) return true;
  }
  return false;
}

}  // namespace holdfast::postgres
