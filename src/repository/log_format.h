// What the writer and the reader of log objects share: "Log objects" in docs/format.md.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/seal.h"
#include "repository/repository.h"

namespace holdfast::repository {

inline constexpr std::string_view kLogMagic{"HFLOG\0\0\1", 8};
inline constexpr std::string_view kLogKeyContext = "log key";
inline constexpr std::size_t kSealedKeySize = crypto::AeadKey::kSize + crypto::kSealOverhead;
inline constexpr std::size_t kLogHeadSize = 8 + 32 + kSealedKeySize + 32 + 4;  // 156
inline constexpr std::size_t kMaxSealedMetadata = 16 * 1024 * 1024;
inline constexpr std::size_t kFrameHeadSize = 1 + 4 + 4;
inline constexpr std::size_t kFrameSize = 2 * 1024 * 1024;  // written
inline constexpr std::size_t kMaxFrame = 4 * 1024 * 1024;   // accepted
inline constexpr std::uint8_t kCodecNone = 0;
inline constexpr std::uint8_t kCodecZstd = 1;

struct LogHead {
  crypto::PublicKey public_key{};
  std::array<std::uint8_t, kSealedKeySize> sealed_key{};
  std::array<std::uint8_t, 32> salt{};
};

// repository id ‖ the object's name: what everything in the object is bound to.
base::Bytes log_binding(const Context& context, std::string_view name);
base::Bytes metadata_associated_data(const Context& context, std::string_view name,
                                     const LogHead& head);
crypto::Aead metadata_aead(const Context& context, const LogHead& head);

crypto::PrefixedHash log_frame_hash(const Keyring& keyring);
// The digest of a content of `length_bytes` whose frames hash to `frame_hashes`, joined.
crypto::Digest log_digest(const Keyring& keyring, std::uint64_t length_bytes,
                          base::ByteView frame_hashes);

// The same, frame by frame.
class LogDigest {
 public:
  explicit LogDigest(const Keyring& keyring) : keyring_(keyring), hash_(log_frame_hash(keyring)) {}
  void add_frame(base::ByteView frame);
  crypto::Digest finish(std::uint64_t length_bytes) const;

 private:
  const Keyring& keyring_;
  crypto::PrefixedHash hash_;
  base::Bytes hashes_;
};

}  // namespace holdfast::repository
