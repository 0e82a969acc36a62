// SHA-256 through OpenSSL's low-level interface: a state on the stack, copied by assignment, where
// EVP would allocate and look up the algorithm for each message. It runs the same assembly
// (SHA-NI).
#define OPENSSL_SUPPRESS_DEPRECATED
#include "crypto/hash.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>

namespace holdfast::crypto {
namespace {

using HmacBlock = std::array<std::uint8_t, SHA256_CBLOCK>;

SHA256_CTX keyed_state(const HmacBlock& key, std::uint8_t pad) {
  HmacBlock block;
  std::transform(key.begin(), key.end(), block.begin(),
                 [pad](std::uint8_t byte) { return static_cast<std::uint8_t>(byte ^ pad); });
  SHA256_CTX state;
  SHA256_Init(&state);
  SHA256_Update(&state, block.data(), block.size());
  OPENSSL_cleanse(block.data(), block.size());
  return state;
}

}  // namespace

// None of these calls can fail: they return 1 whatever comes.

Digest sha256(base::ByteView bytes) {
  SHA256_CTX state;
  SHA256_Init(&state);
  SHA256_Update(&state, bytes.data(), bytes.size());
  Digest digest;
  SHA256_Final(digest.data(), &state);
  return digest;
}

// RFC 2104: H(key ^ opad ‖ H(key ^ ipad ‖ message)).
Digest hmac(base::ByteView key, std::initializer_list<base::ByteView> parts) {
  HmacBlock block{};
  if (key.size() > block.size()) {
    const Digest short_key = sha256(key);
    std::copy(short_key.begin(), short_key.end(), block.begin());
  } else {
    std::copy(key.begin(), key.end(), block.begin());
  }
  SHA256_CTX inner = keyed_state(block, 0x36);
  SHA256_CTX outer = keyed_state(block, 0x5c);
  OPENSSL_cleanse(block.data(), block.size());

  Digest digest;
  for (const base::ByteView part : parts) SHA256_Update(&inner, part.data(), part.size());
  SHA256_Final(digest.data(), &inner);
  SHA256_Update(&outer, digest.data(), digest.size());
  SHA256_Final(digest.data(), &outer);
  OPENSSL_cleanse(&inner, sizeof inner);
  OPENSSL_cleanse(&outer, sizeof outer);
  return digest;
}

struct PrefixedHash::State {
  SHA256_CTX after_prefix;
  ~State() { OPENSSL_cleanse(&after_prefix, sizeof after_prefix); }
};

PrefixedHash::PrefixedHash(std::span<const std::uint8_t, 64> prefix)
    : state_(std::make_unique<State>()) {
  SHA256_Init(&state_->after_prefix);
  SHA256_Update(&state_->after_prefix, prefix.data(), prefix.size());
}

PrefixedHash::~PrefixedHash() = default;
PrefixedHash::PrefixedHash(PrefixedHash&&) noexcept = default;
PrefixedHash& PrefixedHash::operator=(PrefixedHash&&) noexcept = default;

void PrefixedHash::digest(base::ByteView message, std::span<std::uint8_t, 32> out) {
  SHA256_CTX state = state_->after_prefix;
  SHA256_Update(&state, message.data(), message.size());
  SHA256_Final(out.data(), &state);
}

}  // namespace holdfast::crypto
