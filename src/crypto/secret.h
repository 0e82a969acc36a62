// Bytes that must not outlive their use: wiped when destroyed, never printed, copied only on
// purpose.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"

namespace holdfast::crypto {

void wipe(base::MutableByteView bytes) noexcept;

// A 32-byte key of a given role: an identity key cannot be passed where a metadata key is wanted.
template <typename Role>
class SecretKey {
 public:
  static constexpr std::size_t kSize = 32;

  SecretKey() = default;
  explicit SecretKey(std::span<const std::uint8_t, kSize> bytes) {
    std::copy(bytes.begin(), bytes.end(), bytes_.begin());
  }
  SecretKey(const SecretKey&) = default;
  SecretKey& operator=(const SecretKey&) = default;
  ~SecretKey() { wipe(bytes_); }

  std::span<const std::uint8_t, kSize> bytes() const { return bytes_; }
  std::span<std::uint8_t, kSize> writable() { return bytes_; }

 private:
  std::array<std::uint8_t, kSize> bytes_{};
};

using IdentityKey = SecretKey<struct IdentityRole>;
using MetadataKey = SecretKey<struct MetadataRole>;
using AeadKey = SecretKey<struct AeadRole>;
using ExchangeKey = SecretKey<struct ExchangeRole>;  // X25519, secret half

// A passphrase or the text of a key file.
class SecretText {
 public:
  SecretText() = default;
  explicit SecretText(std::string&& text);  // leaves nothing of it in `text`
  SecretText(SecretText&& other) noexcept : text_(std::move(other.text_)) { other.clear(); }
  SecretText& operator=(SecretText&& other) noexcept;
  ~SecretText() { clear(); }

  std::string_view view() const { return text_; }
  bool empty() const { return text_.empty(); }

 private:
  void clear() noexcept;
  std::string text_;
};

// Makes the process leave no core dump and refuse debuggers of other users. Called once by main.
void forbid_core_dumps();

}  // namespace holdfast::crypto
