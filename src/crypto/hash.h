// SHA-256, HMAC-SHA-256, and SHA-256 behind a fixed secret prefix. 1.4 GB/s a core with SHA-NI.
#pragma once

#include <array>
#include <initializer_list>
#include <memory>
#include <span>

#include "base/bytes.h"

namespace holdfast::crypto {

using Digest = std::array<std::uint8_t, 32>;

Digest sha256(base::ByteView bytes);
// HMAC over the parts joined.
Digest hmac(base::ByteView key, std::initializer_list<base::ByteView> parts);

// SHA-256(prefix ‖ message) with the state after the 64-byte prefix kept, for hashing many messages
// of a fixed size. Not thread-safe: one per thread.
class PrefixedHash {
 public:
  explicit PrefixedHash(std::span<const std::uint8_t, 64> prefix);
  ~PrefixedHash();
  PrefixedHash(PrefixedHash&&) noexcept;
  PrefixedHash& operator=(PrefixedHash&&) noexcept;

  void digest(base::ByteView message, std::span<std::uint8_t, 32> out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast::crypto
