#include "base/bytes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <new>

#include "base/error.h"

namespace holdfast::base {

ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void ByteWriter::fixed(std::uint64_t value, int count) {
  for (int i = 0; i < count; ++i) buffer_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

void ByteWriter::varint(std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) buffer_.push_back(static_cast<std::uint8_t>(value | 0x80));
  buffer_.push_back(static_cast<std::uint8_t>(value));
}

void ByteWriter::bytes(ByteView bytes) {
  varint(bytes.size());
  raw(bytes);
}

std::uint64_t ByteReader::fixed(std::size_t size) {
  const ByteView taken = raw(size);
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value |= std::uint64_t{taken[i]} << (8 * i);
  return value;
}

std::uint64_t ByteReader::varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const std::uint8_t byte = u8();
    if (shift == 63 && byte > 1) fail("a number is too large");
    value |= std::uint64_t{byte & 0x7fu} << shift;
    if ((byte & 0x80) == 0) return value;
  }
  fail("a number is too long");
}

std::size_t ByteReader::count(std::size_t item_size) {
  const std::uint64_t value = varint();
  if (value > left() / std::max<std::size_t>(item_size, 1)) {
    fail("a count is larger than what follows");
  }
  return static_cast<std::size_t>(value);
}

ByteView ByteReader::raw(std::size_t size) {
  if (size > rest_.size()) fail("it ends too early");
  const ByteView taken = rest_.first(size);
  rest_ = rest_.subspan(size);
  return taken;
}

ByteView ByteReader::bytes() { return raw(count(1)); }

std::string ByteReader::string() { return std::string(as_text(bytes())); }

void ByteReader::expect_end() const {
  if (!rest_.empty()) fail(fmt::format("{} bytes follow its end", rest_.size()));
}

void ByteReader::fail(std::string_view problem) const {
  throw Error(ErrorKind::kDamaged, fmt::format("{} is damaged: {}", what_, problem));
}

AlignedBuffer::AlignedBuffer(std::size_t capacity) {
  if (capacity > std::numeric_limits<std::size_t>::max() - kAlignment) throw std::bad_alloc();
  capacity_ = (capacity + kAlignment - 1) / kAlignment * kAlignment;
  if (capacity_ == 0) return;
  data_.reset(static_cast<std::uint8_t*>(std::aligned_alloc(kAlignment, capacity_)));
  if (data_ == nullptr) throw std::bad_alloc();
}

void AlignedBuffer::Free::operator()(std::uint8_t* pointer) const { std::free(pointer); }

}  // namespace holdfast::base
