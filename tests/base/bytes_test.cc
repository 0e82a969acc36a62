#include "base/bytes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <random>

#include "base/error.h"

namespace holdfast::base {
namespace {

using ::testing::HasSubstr;

TEST(ByteWriterTest, IntegersAreLittleEndian) {
  ByteWriter writer;
  writer.u8(0x01);
  writer.u16(0x0302);
  writer.u32(0x07060504);
  writer.u64(0x0f0e0d0c0b0a0908);
  EXPECT_EQ(to_hex(writer.view()), "0102030405060708090a0b0c0d0e0f");
}

TEST(ByteWriterTest, VarintsAreLeb128) {
  const std::pair<std::uint64_t, std::string_view> cases[] = {
      {0, "00"},
      {0x7f, "7f"},
      {0x80, "8001"},
      {300, "ac02"},
      {std::numeric_limits<std::uint64_t>::max(), "ffffffffffffffffff01"},
  };
  for (const auto& [value, hex] : cases) {
    ByteWriter writer;
    writer.varint(value);
    EXPECT_EQ(to_hex(writer.view()), hex);
  }
}

TEST(ByteReaderTest, ReadsWhatTheWriterWrote) {
  ByteWriter writer;
  writer.u8(1);
  writer.u16(2);
  writer.u32(3);
  writer.u64(4);
  for (unsigned shift = 0; shift < 64; ++shift) writer.varint(std::uint64_t{1} << shift);
  writer.string("base/5/16384");
  writer.bytes({});
  writer.raw(as_bytes("raw"));
  const Bytes content = writer.take();

  ByteReader reader(content, "the test object");
  EXPECT_EQ(reader.u8(), 1);
  EXPECT_EQ(reader.u16(), 2);
  EXPECT_EQ(reader.u32(), 3u);
  EXPECT_EQ(reader.u64(), 4u);
  for (unsigned shift = 0; shift < 64; ++shift) {
    EXPECT_EQ(reader.varint(), std::uint64_t{1} << shift);
  }
  EXPECT_EQ(reader.string(), "base/5/16384");
  EXPECT_TRUE(reader.bytes().empty());
  EXPECT_EQ(reader.left(), 3u);
  EXPECT_EQ(as_text(reader.raw(3)), "raw");
  reader.expect_end();
}

void expect_damaged(std::string_view hex, const std::function<void(ByteReader&)>& read) {
  Bytes content(hex.size() / 2);
  ASSERT_TRUE(from_hex(hex, content));
  ByteReader reader(content, "index/00ff");
  try {
    read(reader);
    FAIL() << "took " << hex;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kDamaged);
    EXPECT_THAT(error.what(), HasSubstr("index/00ff"));
  }
}

TEST(ByteReaderTest, RefusesWhatDoesNotFit) {
  expect_damaged("", [](ByteReader& r) { r.u8(); });
  expect_damaged("00", [](ByteReader& r) { r.u16(); });
  expect_damaged("000000", [](ByteReader& r) { r.u32(); });
  expect_damaged("00000000000000", [](ByteReader& r) { r.u64(); });
  expect_damaged("80", [](ByteReader& r) { r.varint(); });
  expect_damaged("ffffffffffffffffff02", [](ByteReader& r) { r.varint(); });
  expect_damaged("8080808080808080808000", [](ByteReader& r) { r.varint(); });
  expect_damaged("0200", [](ByteReader& r) { r.bytes(); });
  expect_damaged("ffffffffffffffffff01", [](ByteReader& r) { r.string(); });
  expect_damaged("0000", [](ByteReader& r) { r.raw(3); });
  expect_damaged("00", [](ByteReader& r) { r.expect_end(); });
  // Two items of 8 bytes cannot stand in 15.
  expect_damaged("02000000000000000000000000000000", [](ByteReader& r) { r.count(8); });
  // A count whose size in bytes would overflow.
  expect_damaged("ffffffffffffffffff010000", [](ByteReader& r) { r.count(16); });
}

TEST(ByteReaderTest, CountsWhatJustFits) {
  Bytes content(17);
  content[0] = 2;
  ByteReader reader(content, "x");
  EXPECT_EQ(reader.count(8), 2u);
}

// Any calls on any bytes: an Error or a value, and never more is handed out than there was.
TEST(ByteReaderTest, HostileInputIsReadWithinItsBounds) {
  std::mt19937 random(20240117);
  for (int round = 0; round < 20'000; ++round) {
    Bytes content(random() % 64);
    // Many high bits and many small values, so that all branches are met.
    for (auto& byte : content) {
      byte = static_cast<std::uint8_t>(random() % 3 == 0 ? 0xff : random() % 16 * 9);
    }
    ByteReader reader(content, "x");
    try {
      for (int step = 0; step < 32; ++step) {
        const std::size_t before = reader.left();
        switch (random() % 8) {
          case 0:
            reader.u8();
            break;
          case 1:
            reader.u16();
            break;
          case 2:
            reader.u32();
            break;
          case 3:
            reader.u64();
            break;
          case 4:
            reader.varint();
            break;
          case 5: {
            const std::size_t item_size = 1 + random() % 40;
            const std::size_t count = reader.count(item_size);
            ASSERT_LE(count * item_size, reader.left());
            break;
          }
          case 6: {
            const ByteView taken = reader.bytes();
            ASSERT_LT(taken.size(), before);
            for (const std::uint8_t byte : taken)
              ASSERT_LE(byte, 0xff);  // under ASan: all of it is ours
            break;
          }
          default:
            reader.raw(random() % 8);
        }
        ASSERT_LE(reader.left(), before);
      }
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::kDamaged);
    }
  }
}

TEST(HexTest, RoundTripsAndRefuses) {
  const Bytes bytes{0x00, 0x7f, 0xff, 0xa5};
  EXPECT_EQ(to_hex(bytes), "007fffa5");
  Bytes out(4);
  EXPECT_TRUE(from_hex("007FFFa5", out));
  EXPECT_EQ(out, bytes);
  EXPECT_FALSE(from_hex("007fffa", out));
  EXPECT_FALSE(from_hex("007fff", out));
  EXPECT_FALSE(from_hex("007fffa5a5", out));
  EXPECT_FALSE(from_hex("007fffg5", out));
  EXPECT_FALSE(from_hex(" 07fffa5", out));
  EXPECT_TRUE(from_hex("", {}));
}

TEST(Base64Test, VectorsOfRfc4648) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"},
  };
  for (const auto& [plain, encoded] : cases) {
    EXPECT_EQ(to_base64(as_bytes(plain)), encoded);
    Bytes out;
    EXPECT_TRUE(from_base64(encoded, out)) << encoded;
    EXPECT_EQ(as_text(out), plain);
  }
}

TEST(Base64Test, RoundTripsAnything) {
  std::mt19937 random(7);
  for (std::size_t size = 0; size < 200; ++size) {
    Bytes bytes(size);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
    std::string text = to_base64(bytes);
    for (std::size_t at = 64; at < text.size(); at += 65) text.insert(at, "\n");
    Bytes out{1, 2, 3};
    ASSERT_TRUE(from_base64(text, out));
    ASSERT_EQ(out, bytes);
  }
}

TEST(Base64Test, RefusesAnythingElse) {
  Bytes out;
  for (const std::string_view text :
       {"Z", "Zg", "Zg=", "Zg===", "Zm8", "Zm9v=", "Zm9v====", "=", "====", "Zg==Zg==", "Zg=g",
        "Zm-v", "Zm_v", "Zh==", "Zm9=", "Zm9v\v", "Zm9v!", "Z===", "Zm9vZ==="}) {
    EXPECT_FALSE(from_base64(text, out)) << text;
  }
}

TEST(AlignedBufferTest, IsAlignedRoundedUpAndMovable) {
  AlignedBuffer buffer(5000);
  EXPECT_EQ(buffer.capacity(), 8192u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % AlignedBuffer::kAlignment, 0u);
  buffer.span().back() = 42;
  const AlignedBuffer moved = std::move(buffer);
  EXPECT_EQ(moved.data()[8191], 42);
  EXPECT_EQ(AlignedBuffer().capacity(), 0u);
  EXPECT_EQ(AlignedBuffer(0).capacity(), 0u);
  EXPECT_THROW(AlignedBuffer(std::numeric_limits<std::size_t>::max()), std::bad_alloc);
}

TEST(Printable, KeepsALineOneLine) {
  EXPECT_EQ(printable("plain \xc3\xa4.txt"), "plain \xc3\xa4.txt");
  EXPECT_EQ(printable("a\nb\tc\\d\x1b[31m\x7f"), "a\\nb\\tc\\\\d\\x1b[31m\\x7f");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
}

}  // namespace
}  // namespace holdfast::base
