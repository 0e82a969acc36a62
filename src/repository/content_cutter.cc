#include "repository/content_cutter.h"

#include <algorithm>

#include "crypto/hash.h"
#include "crypto/kdf.h"

namespace holdfast::repository {
namespace {

// The rolling hash shifts left by one with each byte, so its upper bits have seen the last 64
// bytes. Before the usual size a cut needs more zero bits than after it: that gathers the sizes
// around it ("normalised chunking", level 2).
constexpr std::uint64_t upper_bits(int count) { return ~std::uint64_t{0} << (64 - count); }
constexpr std::uint64_t kHarder = upper_bits(20);
constexpr std::uint64_t kEasier = upper_bits(16);

}  // namespace

ContentCutter::ContentCutter(const crypto::IdentityKey& identity) {
  std::array<std::uint8_t, sizeof gear_> bytes;
  for (std::size_t block = 0; block * sizeof(crypto::Digest) < bytes.size(); ++block) {
    const auto number = static_cast<std::uint8_t>(block);
    const crypto::Digest digest =
        crypto::hmac(identity.bytes(),
                     {base::as_bytes("holdfast content cutter v1"), base::ByteView(&number, 1)});
    std::copy(digest.begin(), digest.end(),
              bytes.begin() + static_cast<std::ptrdiff_t>(block * sizeof(crypto::Digest)));
  }
  base::ByteReader reader(bytes, "gear");
  for (std::uint64_t& word : gear_) word = reader.u64();
  crypto::wipe(bytes);
}

std::size_t ContentCutter::first_chunk(base::ByteView content) const {
  if (content.size() <= kLeast) return content.size();
  const std::size_t end = std::min(content.size(), kMost);
  const std::size_t usual = std::min(end, kUsual);
  const std::uint8_t* const bytes = content.data();
  std::uint64_t hash = 0;
  std::size_t at = kLeast;
  for (; at < usual; ++at) {
    hash = (hash << 1) + gear_[bytes[at]];
    if ((hash & kHarder) == 0) return at + 1;
  }
  for (; at < end; ++at) {
    hash = (hash << 1) + gear_[bytes[at]];
    if ((hash & kEasier) == 0) return at + 1;
  }
  return end;
}

}  // namespace holdfast::repository
