// Keys from keys (HKDF, RFC 5869), keys from passphrases (scrypt, RFC 7914), and random bytes.
#pragma once

#include <string_view>

#include "base/bytes.h"
#include "crypto/secret.h"

namespace holdfast::crypto {

void hkdf(base::ByteView salt, base::ByteView input_key, std::string_view info,
          base::MutableByteView out);

template <typename Key>
Key hkdf_key(base::ByteView salt, base::ByteView input_key, std::string_view info) {
  Key key;
  hkdf(salt, input_key, info, key.writable());
  return key;
}

struct ScryptCost {
  std::uint8_t log2_n = 16;  // 64 MiB with r = 8
  std::uint8_t r = 8;
  std::uint8_t p = 1;
};

// Throws kDamaged for a cost outside 2^14 <= N <= 2^20, 1 <= r <= 16, 1 <= p <= 4: it comes from a
// file.
void scrypt(const SecretText& passphrase, base::ByteView salt, ScryptCost cost,
            base::MutableByteView out);

// Where random bytes come from; passed in so that golden tests can fix them. Thread-safe.
class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(base::MutableByteView out) = 0;
};

class SystemRandom final : public Random {
 public:
  void fill(base::MutableByteView out) override;
};

}  // namespace holdfast::crypto
