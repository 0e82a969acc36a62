#include "crypto/aead.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "crypto/test_bytes.h"

namespace holdfast::crypto {
namespace {

struct Vector {
  std::string_view key, nonce, associated, plain, sealed;
};

// "The Galois/Counter Mode of Operation (GCM)", McGrew and Viega, appendix B: test cases 13 to 16.
constexpr Vector kVectors[] = {
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "00000000000000000000000000000000",
     "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b"
     "525"
     "b16aedf5aa0de657ba637b391aafd255",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828"
     "838"
     "c5f61e6393ba7a0abcc9f662898015adb094dac5d93471bdec1a502270e3cc6c"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b"
     "525"
     "b16aedf5aa0de657ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828"
     "838"
     "c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"},
};

Nonce nonce_from_hex(std::string_view hex) {
  Nonce nonce;
  EXPECT_TRUE(base::from_hex(hex, nonce));
  return nonce;
}

TEST(AeadTest, KnownAnswers) {
  for (const Vector& vector : kVectors) {
    Aead aead(key_from_hex<AeadKey>(vector.key));
    const Nonce nonce = nonce_from_hex(vector.nonce);
    const base::Bytes associated = from_hex(vector.associated);
    const base::Bytes plain = from_hex(vector.plain);
    // Each twice and both ways in turn: a context carries nothing from one message to the next.
    for (int round = 0; round < 2; ++round) {
      base::Bytes sealed(plain.size() + kTagSize);
      aead.seal(nonce, associated, plain, sealed);
      EXPECT_EQ(base::to_hex(sealed), vector.sealed);
      base::Bytes opened(plain.size());
      EXPECT_TRUE(aead.open(nonce, associated, sealed, opened));
      EXPECT_EQ(opened, plain);
    }
  }
}

TEST(AeadTest, WorksInPlaceBothWays) {
  const Vector& vector = kVectors[3];
  Aead aead(key_from_hex<AeadKey>(vector.key));
  const Nonce nonce = nonce_from_hex(vector.nonce);
  const base::Bytes associated = from_hex(vector.associated);
  const base::Bytes plain = from_hex(vector.plain);
  base::Bytes buffer = plain;
  buffer.resize(plain.size() + kTagSize);
  aead.seal(nonce, associated, base::ByteView(buffer).first(plain.size()), buffer);
  EXPECT_EQ(base::to_hex(buffer), vector.sealed);
  EXPECT_TRUE(
      aead.open(nonce, associated, buffer, base::MutableByteView(buffer).first(plain.size())));
  buffer.resize(plain.size());
  EXPECT_EQ(buffer, plain);
}

class AeadTamperTest : public ::testing::Test {
 protected:
  AeadTamperTest() { aead_.seal(nonce_, associated_, plain_, sealed_); }

  bool opens(const Nonce& nonce, base::ByteView associated, base::ByteView sealed) {
    base::Bytes out(sealed.size() < kTagSize ? 0 : sealed.size() - kTagSize, 0xee);
    const bool authentic = aead_.open(nonce, associated, sealed, out);
    if (!authentic) {
      EXPECT_EQ(out, base::Bytes(out.size(), 0)) << "unauthentic text was handed out";
    }
    return authentic;
  }

  Aead aead_{key_from_hex<AeadKey>(kVectors[3].key)};
  Nonce nonce_ = counter_nonce(7);
  base::Bytes associated_ = from_hex("00112233");
  base::Bytes plain_ = base::Bytes(40, 0x5a);
  base::Bytes sealed_ = base::Bytes(40 + kTagSize);
};

TEST_F(AeadTamperTest, EveryFlippedBitIsFound) {
  for (std::size_t bit = 0; bit < sealed_.size() * 8; ++bit) {
    base::Bytes bad = sealed_;
    bad[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    ASSERT_FALSE(opens(nonce_, associated_, bad)) << bit;
  }
  EXPECT_TRUE(opens(nonce_, associated_, sealed_));
}

TEST_F(AeadTamperTest, EveryTruncationIsFound) {
  for (std::size_t size = 0; size < sealed_.size(); ++size) {
    ASSERT_FALSE(opens(nonce_, associated_, base::ByteView(sealed_).first(size))) << size;
  }
}

TEST_F(AeadTamperTest, AnotherNonceKeyOrAssociatedDataIsRefused) {
  EXPECT_FALSE(opens(counter_nonce(8), associated_, sealed_));
  EXPECT_FALSE(opens(counter_nonce(7, true), associated_, sealed_));
  EXPECT_FALSE(opens(nonce_, {}, sealed_));
  EXPECT_FALSE(opens(nonce_, from_hex("00112234"), sealed_));
  EXPECT_TRUE(opens(nonce_, associated_, sealed_));
  base::Bytes out(40);
  EXPECT_FALSE(Aead(AeadKey{}).open(nonce_, associated_, sealed_, out));
}

TEST_F(AeadTamperTest, BuffersOfTheWrongSizeAreRefused) {
  base::Bytes small(40 + kTagSize - 1);
  EXPECT_THROW(aead_.seal(nonce_, {}, plain_, small), base::Error);
  EXPECT_THROW((void)aead_.open(nonce_, {}, sealed_, small), base::Error);
}

TEST(CounterNonceTest, IsLittleEndianWithTheLastFlagBehind) {
  EXPECT_EQ(base::to_hex(counter_nonce(0x04030201)), "010203040000000000000000");
  EXPECT_EQ(base::to_hex(counter_nonce(2, true)), "020000000100000000000000");
}

}  // namespace
}  // namespace holdfast::crypto
