#include "repository/chunk_hash.h"

#include <cstring>

namespace holdfast::repository {
namespace {

constexpr std::uint8_t kBytesDomain = 0;
constexpr std::uint8_t kPagesDomain = 1;

crypto::PrefixedHash page_hash_of(const crypto::IdentityKey& identity) {
  std::array<std::uint8_t, 64> prefix;
  crypto::hkdf({}, identity.bytes(), "holdfast page hash v1", prefix);
  crypto::PrefixedHash hash(prefix);
  crypto::wipe(prefix);
  return hash;
}

}  // namespace

ChunkHasher::ChunkHasher(const crypto::IdentityKey& identity)
    : identity_(identity), page_hash_(page_hash_of(identity)) {}

ChunkId ChunkHasher::bytes_id(base::ByteView content) const {
  return ChunkId{crypto::hmac(identity_.bytes(), {base::ByteView(&kBytesDomain, 1), content})};
}

ChunkId ChunkHasher::pages_id(base::ByteView pages, std::uint32_t page_size) {
  page_hashes_.resize(pages.size() / page_size);
  for (std::size_t i = 0; i < page_hashes_.size(); ++i) {
    page_hash_.digest(pages.subspan(i * page_size, page_size), page_hashes_[i]);
  }
  base::ByteWriter head;
  head.u8(kPagesDomain);
  head.u32(page_size);
  static_assert(sizeof(crypto::Digest) == 32);  // so that the vector is the hashes joined
  const base::ByteView joined(reinterpret_cast<const std::uint8_t*>(page_hashes_.data()),
                              page_hashes_.size() * sizeof(crypto::Digest));
  return ChunkId{crypto::hmac(identity_.bytes(), {head.view(), joined})};
}

std::uint64_t ChunkHasher::short_hash_of_page(base::ByteView page) {
  crypto::Digest hash;
  page_hash_.digest(page, hash);
  return short_page_hash(hash);
}

std::uint64_t short_page_hash(const crypto::Digest& hash) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) value |= std::uint64_t{hash[i]} << (8 * i);
  return value;
}

bool all_zero(base::ByteView bytes) {
  // The first bytes are zero and each equals the one 16 before it. Other content ends this at once.
  constexpr std::size_t kHead = 16;
  for (std::size_t i = 0; i < bytes.size() && i < kHead; ++i) {
    if (bytes[i] != 0) return false;
  }
  return bytes.size() <= kHead ||
         std::memcmp(bytes.data(), bytes.data() + kHead, bytes.size() - kHead) == 0;
}

}  // namespace holdfast::repository
