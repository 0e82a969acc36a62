// Sealing a message to a public key (X25519, HKDF, AES-256-GCM; "Keys" in docs/format.md), so that
// a host can write what it cannot read.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"

namespace holdfast::crypto {

using PublicKey = std::array<std::uint8_t, 32>;
inline constexpr std::size_t kSealOverhead = 32 + 16;

PublicKey public_key_of(const ExchangeKey& secret);
ExchangeKey new_exchange_key(Random& random);

base::Bytes seal_to(const PublicKey& recipient, std::string_view context, base::ByteView associated,
                    base::ByteView message, Random& random);
// Nullopt unless it was sealed to this key with this context and data. The caller wipes the result.
std::optional<base::Bytes> open_sealed(const ExchangeKey& secret, std::string_view context,
                                       base::ByteView associated, base::ByteView sealed);

}  // namespace holdfast::crypto
