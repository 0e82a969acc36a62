// AES-256-GCM (NIST SP 800-38D) as docs/format.md uses it: 12-byte nonce, 16-byte tag behind the
// text.
#pragma once

#include <array>
#include <memory>

#include "crypto/secret.h"

namespace holdfast::crypto {

inline constexpr std::size_t kTagSize = 16;
using Nonce = std::array<std::uint8_t, 12>;

// u32 counter, then eight bytes: zero but for `last`, which sets byte 4 to 1.
Nonce counter_nonce(std::uint32_t counter, bool last = false);

// One key, many messages; keeps the key schedule. Not thread-safe: one per thread.
class Aead {
 public:
  explicit Aead(const AeadKey& key);
  ~Aead();
  Aead(Aead&&) noexcept;
  Aead& operator=(Aead&&) noexcept;

  // Writes plain.size() + kTagSize bytes to `sealed`, which may begin where `plain` does.
  void seal(const Nonce& nonce, base::ByteView associated, base::ByteView plain,
            base::MutableByteView sealed);
  // Writes sealed.size() - kTagSize bytes to `plain`; false (and nothing of use in `plain`) unless
  // the tag is right.
  [[nodiscard]] bool open(const Nonce& nonce, base::ByteView associated, base::ByteView sealed,
                          base::MutableByteView plain);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace holdfast::crypto
