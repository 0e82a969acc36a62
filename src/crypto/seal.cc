#include "crypto/seal.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "crypto/aead.h"

namespace holdfast::crypto {
namespace {

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
};
using KeyHandle = std::unique_ptr<EVP_PKEY, FreeKey>;

using SharedSecret = SecretKey<struct SharedRole>;

KeyHandle load_secret(const ExchangeKey& secret) {
  const auto bytes = secret.bytes();
  KeyHandle key(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, bytes.data(), bytes.size()));
  if (!key) throw base::Error(base::ErrorKind::kFailed, "OpenSSL offers no X25519");
  return key;
}

PublicKey public_half(EVP_PKEY* key) {
  PublicKey result;
  std::size_t size = result.size();
  if (EVP_PKEY_get_raw_public_key(key, result.data(), &size) != 1 || size != result.size()) {
    throw base::Error(base::ErrorKind::kFailed, "OpenSSL failed to compute an X25519 public key");
  }
  return result;
}

// False for a public key of small order, with which the secret would be all zero (RFC 7748, 6.1).
bool exchange(EVP_PKEY* secret, const PublicKey& peer, SharedSecret& shared) {
  const KeyHandle peer_key(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, peer.data(), peer.size()));
  const std::unique_ptr<EVP_PKEY_CTX, FreeKey> context(EVP_PKEY_CTX_new(secret, nullptr));
  std::size_t size = SharedSecret::kSize;
  return peer_key && context && EVP_PKEY_derive_init(context.get()) == 1 &&
         EVP_PKEY_derive_set_peer(context.get(), peer_key.get()) == 1 &&
         EVP_PKEY_derive(context.get(), shared.writable().data(), &size) == 1 &&
         size == SharedSecret::kSize;
}

// k = HKDF(salt = E ‖ P, ikm = X25519(e, P), info = "holdfast seal v1 " ‖ C)
AeadKey message_key(const PublicKey& ephemeral, const PublicKey& recipient,
                    const SharedSecret& shared, std::string_view context) {
  std::array<std::uint8_t, 64> salt;
  std::copy(ephemeral.begin(), ephemeral.end(), salt.begin());
  std::copy(recipient.begin(), recipient.end(), salt.begin() + 32);
  return hkdf_key<AeadKey>(salt, shared.bytes(), fmt::format("holdfast seal v1 {}", context));
}

}  // namespace

PublicKey public_key_of(const ExchangeKey& secret) {
  return public_half(load_secret(secret).get());
}

ExchangeKey new_exchange_key(Random& random) {
  ExchangeKey key;
  random.fill(key.writable());
  return key;
}

base::Bytes seal_to(const PublicKey& recipient, std::string_view context, base::ByteView associated,
                    base::ByteView message, Random& random) {
  const KeyHandle ephemeral = load_secret(new_exchange_key(random));
  const PublicKey ephemeral_public = public_half(ephemeral.get());
  SharedSecret shared;
  if (!exchange(ephemeral.get(), recipient, shared)) {
    throw base::Error(base::ErrorKind::kDamaged, "the public key to seal to is not a valid one");
  }
  Aead aead(message_key(ephemeral_public, recipient, shared, context));
  base::Bytes sealed(kSealOverhead + message.size());
  std::copy(ephemeral_public.begin(), ephemeral_public.end(), sealed.begin());
  aead.seal(Nonce{}, associated, message, base::MutableByteView(sealed).subspan(32));
  return sealed;
}

std::optional<base::Bytes> open_sealed(const ExchangeKey& secret, std::string_view context,
                                       base::ByteView associated, base::ByteView sealed) {
  if (sealed.size() < kSealOverhead) return std::nullopt;
  PublicKey ephemeral;
  std::copy_n(sealed.begin(), ephemeral.size(), ephemeral.begin());
  const KeyHandle key = load_secret(secret);
  SharedSecret shared;
  if (!exchange(key.get(), ephemeral, shared)) return std::nullopt;
  Aead aead(message_key(ephemeral, public_half(key.get()), shared, context));
  base::Bytes message(sealed.size() - kSealOverhead);
  if (!aead.open(Nonce{}, associated, sealed.subspan(ephemeral.size()), message)) {
    return std::nullopt;
  }
  return message;
}

}  // namespace holdfast::crypto
