// Views and owners of raw bytes, and the explicit reader and writer through which all on-disk
// integers pass. Little-endian, as docs/format.md says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::base {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;
using MutableByteView = std::span<std::uint8_t>;

ByteView as_bytes(std::string_view text);
std::string_view as_text(ByteView bytes);

// Appends to a buffer that it owns.
class ByteWriter {
 public:
  void u8(std::uint8_t value) { buffer_.push_back(value); }
  void u16(std::uint16_t value) { fixed(value, 2); }
  void u32(std::uint32_t value) { fixed(value, 4); }
  void u64(std::uint64_t value) { fixed(value, 8); }
  void varint(std::uint64_t value);
  void raw(ByteView bytes) { buffer_.insert(buffer_.end(), bytes.begin(), bytes.end()); }
  void bytes(ByteView bytes);                                    // varint length, then the bytes
  void string(std::string_view text) { bytes(as_bytes(text)); }  // the same

  std::size_t size() const { return buffer_.size(); }
  ByteView view() const { return buffer_; }
  Bytes take() { return std::move(buffer_); }

 private:
  void fixed(std::uint64_t value, int count);
  Bytes buffer_;
};

// Reads from a view that outlives it. Every length is checked against what is left before it is
// used; what does not fit throws Error(kDamaged) naming `what`.
class ByteReader {
 public:
  ByteReader(ByteView bytes, std::string_view what) : rest_(bytes), what_(what) {}

  std::uint8_t u8() { return static_cast<std::uint8_t>(fixed(1)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(fixed(2)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(fixed(4)); }
  std::uint64_t u64() { return fixed(8); }
  std::uint64_t varint();
  // A varint count of items that each take at least `item_size` more bytes.
  std::size_t count(std::size_t item_size);
  ByteView raw(std::size_t size);
  ByteView bytes();
  std::string string();

  std::size_t left() const { return rest_.size(); }
  void expect_end() const;

 private:
  std::uint64_t fixed(std::size_t size);
  [[noreturn]] void fail(std::string_view problem) const;
  ByteView rest_;
  std::string what_;
};

// Text from elsewhere as it can stand in a line of a message: control characters and the backslash
// become "\n", "\t", "\\" or "\x1b".
std::string printable(std::string_view text);

std::string to_hex(ByteView bytes);
// False unless `hex` is exactly two lower- or upper-case digits for each byte of `out`.
bool from_hex(std::string_view hex, MutableByteView out);
std::string to_base64(ByteView bytes);
// Empty optional-like: returns false for anything but padded RFC 4648 base64 (white space is
// skipped).
bool from_base64(std::string_view text, Bytes& out);

// A buffer of fixed capacity whose address is a multiple of 4096, for O_DIRECT. Not zeroed.
class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 4096;

  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t capacity);  // rounded up to the alignment

  std::uint8_t* data() { return data_.get(); }
  const std::uint8_t* data() const { return data_.get(); }
  std::size_t capacity() const { return capacity_; }
  MutableByteView span() { return {data_.get(), capacity_}; }

 private:
  struct Free {
    void operator()(std::uint8_t* pointer) const;
  };
  std::unique_ptr<std::uint8_t[], Free> data_;
  std::size_t capacity_ = 0;
};

}  // namespace holdfast::base
