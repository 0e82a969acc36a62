// Vectors as their standards print them.
#pragma once

#include <stdexcept>
#include <string_view>

#include "base/bytes.h"
#include "crypto/kdf.h"

namespace holdfast::crypto {

inline base::Bytes from_hex(std::string_view hex) {
  base::Bytes bytes(hex.size() / 2);
  if (!base::from_hex(hex, bytes)) throw std::invalid_argument("the test holds a bad vector");
  return bytes;
}

template <typename Key>
Key key_from_hex(std::string_view hex) {
  const base::Bytes bytes = from_hex(hex);
  return Key(std::span<const std::uint8_t, Key::kSize>(bytes.data(), bytes.size()));
}

// Gives the bytes that it was made with.
class FixedRandom final : public Random {
 public:
  explicit FixedRandom(base::Bytes bytes) : bytes_(std::move(bytes)) {}
  void fill(base::MutableByteView out) override {
    if (out.size() > bytes_.size()) throw std::out_of_range("no fixed bytes are left");
    std::copy_n(bytes_.begin(), out.size(), out.begin());
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(out.size()));
  }

 private:
  base::Bytes bytes_;
};

}  // namespace holdfast::crypto
