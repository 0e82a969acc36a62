#include "crypto/kdf.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "crypto/test_bytes.h"

namespace holdfast::crypto {
namespace {

std::string hkdf_hex(std::string_view salt, std::string_view input_key, std::string_view info,
                     std::size_t size) {
  base::Bytes out(size);
  hkdf(from_hex(salt), from_hex(input_key), base::as_text(from_hex(info)), out);
  return base::to_hex(out);
}

// RFC 5869, appendix A.1 to A.3.
TEST(HkdfTest, KnownAnswers) {
  std::string input_key;
  for (int i = 0; i < 22; ++i) input_key += "0b";
  EXPECT_EQ(hkdf_hex("000102030405060708090a0b0c", input_key, "f0f1f2f3f4f5f6f7f8f9", 42),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  EXPECT_EQ(
      hkdf_hex("606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f8081828384858687"
               "88898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
               "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627"
               "28292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
               "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7"
               "d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
               82),
      "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c6"
      "5e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
  EXPECT_EQ(hkdf_hex("", input_key, "", 42),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

TEST(HkdfTest, AKeyTakesItsInfo) {
  const base::Bytes input(32, 1);
  const auto first = hkdf_key<AeadKey>({}, input, "one");
  const auto second = hkdf_key<AeadKey>({}, input, "two");
  EXPECT_NE(base::to_hex(first.bytes()), base::to_hex(second.bytes()));
}

// RFC 7914, section 12; of its vectors, the one whose cost lies in our bounds and takes 16 MiB.
TEST(ScryptTest, KnownAnswer) {
  base::Bytes out(64);
  scrypt(SecretText(std::string("pleaseletmein")), base::as_bytes("SodiumChloride"), {14, 8, 1},
         out);
  EXPECT_EQ(base::to_hex(out),
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
            "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887");
}

TEST(ScryptTest, TheDefaultCostAndTheLargestParametersHaveMemory) {
  base::Bytes out(32);
  scrypt(SecretText(std::string("x")), base::Bytes(16), ScryptCost{}, out);
  scrypt(SecretText(std::string("x")), base::Bytes(16), {14, 16, 4}, out);
  EXPECT_NE(out, base::Bytes(32));
}

TEST(ScryptTest, ACostOutsideTheBoundsIsDamage) {
  base::Bytes out(32);
  for (const ScryptCost cost :
       {ScryptCost{13, 8, 1}, ScryptCost{21, 8, 1}, ScryptCost{255, 8, 1}, ScryptCost{14, 0, 1},
        ScryptCost{14, 17, 1}, ScryptCost{14, 8, 0}, ScryptCost{14, 8, 5}, ScryptCost{0, 0, 0}}) {
    try {
      scrypt(SecretText(std::string("x")), base::Bytes(16), cost, out);
      FAIL() << "took a bad cost";
    } catch (const base::Error& error) {
      EXPECT_EQ(error.kind(), base::ErrorKind::kDamaged);
    }
  }
}

TEST(SystemRandomTest, FillsAll) {
  SystemRandom random;
  base::Bytes one(1000);
  base::Bytes two(1000);
  random.fill(one);
  random.fill(two);
  random.fill({});
  EXPECT_NE(one, two);
  // 32 zeros in a row have a chance of 2^-256.
  EXPECT_NE(base::Bytes(one.end() - 32, one.end()), base::Bytes(32));
}

}  // namespace
}  // namespace holdfast::crypto
