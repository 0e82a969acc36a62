// Fields that several kinds of objects have in common, and secrets held in plain bytes for a
// moment.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "base/time.h"
#include "crypto/secret.h"

namespace holdfast::repository {

template <std::size_t size>
std::array<std::uint8_t, size> read_array(base::ByteReader& reader) {
  std::array<std::uint8_t, size> out;
  const base::ByteView bytes = reader.raw(size);
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return out;
}

// Throws kDamaged unless the next bytes are `magic`.
inline void expect_magic(base::ByteReader& reader, std::string_view magic, std::string_view what) {
  if (base::as_text(reader.raw(magic.size())) != magic) {
    throw base::Error(base::ErrorKind::kDamaged,
                      std::string(what) + " does not begin as such an object does");
  }
}

inline void write_time(base::ByteWriter& writer, base::Time time) {
  writer.u64(static_cast<std::uint64_t>(time.time_since_epoch().count()));
}

// Years 1970 to 9999, so that whatever is read can also be written out.
inline base::Time read_time(base::ByteReader& reader, std::string_view what) {
  constexpr std::uint64_t kYear10000 = 253'402'300'800'000'000;
  const std::uint64_t value = reader.u64();
  if (value >= kYear10000) {
    throw base::Error(base::ErrorKind::kDamaged, std::string(what) + " has an impossible time");
  }
  return base::Time(std::chrono::microseconds(static_cast<std::int64_t>(value)));
}

// Bytes that are wiped when they go out of scope.
struct WipedBytes {
  base::Bytes bytes;

  WipedBytes() = default;
  explicit WipedBytes(base::Bytes content) : bytes(std::move(content)) {}
  WipedBytes(const WipedBytes&) = delete;
  WipedBytes& operator=(const WipedBytes&) = delete;
  ~WipedBytes() { crypto::wipe(bytes); }
};

}  // namespace holdfast::repository
