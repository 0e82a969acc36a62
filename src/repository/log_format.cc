#include "repository/log_format.h"

#include "crypto/kdf.h"

namespace holdfast::repository {

base::Bytes log_binding(const Context& context, std::string_view name) {
  base::ByteWriter writer;
  writer.raw(context.keyring.repository.bytes);
  writer.raw(base::as_bytes(name));
  return writer.take();
}

base::Bytes metadata_associated_data(const Context& context, std::string_view name,
                                     const LogHead& head) {
  base::ByteWriter writer;
  writer.raw(log_binding(context, name));
  writer.raw(head.public_key);
  writer.raw(head.sealed_key);
  return writer.take();
}

crypto::Aead metadata_aead(const Context& context, const LogHead& head) {
  return crypto::Aead(crypto::hkdf_key<crypto::AeadKey>(head.salt, context.keyring.metadata.bytes(),
                                                        "holdfast log metadata v1"));
}

crypto::PrefixedHash log_frame_hash(const Keyring& keyring) {
  std::array<std::uint8_t, 64> prefix;
  crypto::hkdf({}, keyring.identity.bytes(), "holdfast log frame v1", prefix);
  crypto::PrefixedHash hash(prefix);
  crypto::wipe(prefix);
  return hash;
}

crypto::Digest log_digest(const Keyring& keyring, std::uint64_t length_bytes,
                          base::ByteView frame_hashes) {
  base::ByteWriter head;
  head.u8(2);
  head.u64(length_bytes);
  return crypto::hmac(keyring.identity.bytes(), {head.view(), frame_hashes});
}

void LogDigest::add_frame(base::ByteView frame) {
  std::array<std::uint8_t, 32> digest;
  hash_.digest(frame, digest);
  hashes_.insert(hashes_.end(), digest.begin(), digest.end());
}

crypto::Digest LogDigest::finish(std::uint64_t length_bytes) const {
  return log_digest(keyring_, length_bytes, hashes_);
}

}  // namespace holdfast::repository
