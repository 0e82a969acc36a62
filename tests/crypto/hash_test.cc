#include "crypto/hash.h"

#include <gtest/gtest.h>

#include "crypto/test_bytes.h"

namespace holdfast::crypto {
namespace {

// FIPS 180-2, appendix B.
TEST(Sha256Test, KnownAnswers) {
  EXPECT_EQ(base::to_hex(sha256({})),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(base::to_hex(sha256(base::as_bytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(base::to_hex(sha256(base::Bytes(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// RFC 4231, test cases 1, 2, 6 and 7.
TEST(HmacTest, KnownAnswers) {
  EXPECT_EQ(base::to_hex(hmac(base::Bytes(20, 0x0b), {base::as_bytes("Hi There")})),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(
      base::to_hex(hmac(base::as_bytes("Jefe"),
                        {base::as_bytes("what do ya want "), {}, base::as_bytes("for nothing?")})),
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  const base::Bytes long_key(131, 0xaa);
  EXPECT_EQ(base::to_hex(hmac(long_key, {base::as_bytes("Test Using Larger Than Block-Size Key - "),
                                         base::as_bytes("Hash Key First")})),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  EXPECT_EQ(base::to_hex(
                hmac(long_key, {base::as_bytes("This is a test using a larger than block-size key "
                                               "and a larger than block-size data. The key needs "
                                               "to be hashed before being used by the HMAC "
                                               "algorithm.")})),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

TEST(HmacTest, AKeyOfExactlyOneBlockIsNotHashed) {
  const base::Bytes block(64, 0x42);
  base::Bytes padded(64, 0);
  padded[0] = 0x42;
  EXPECT_EQ(hmac(base::Bytes(1, 0x42), {block}), hmac(padded, {block}));  // zero padding, RFC 2104
  EXPECT_NE(hmac(block, {block}), hmac(sha256(block), {block}));
}

TEST(PrefixedHashTest, IsTheHashOfPrefixAndMessage) {
  std::array<std::uint8_t, 64> prefix;
  for (std::size_t i = 0; i < prefix.size(); ++i) prefix[i] = static_cast<std::uint8_t>(i);
  PrefixedHash hash(prefix);
  for (const std::size_t size : {0u, 1u, 55u, 56u, 63u, 64u, 65u, 8192u, 32768u}) {
    base::Bytes joined(prefix.begin(), prefix.end());
    for (std::size_t i = 0; i < size; ++i) joined.push_back(static_cast<std::uint8_t>(i * 7));
    Digest digest;
    hash.digest(base::ByteView(joined).subspan(64), digest);
    EXPECT_EQ(digest, sha256(joined)) << size;
  }
}

TEST(PrefixedHashTest, KeepsItsStateWhenMoved) {
  const std::array<std::uint8_t, 64> prefix{1, 2, 3};
  PrefixedHash hash(prefix);
  Digest before;
  hash.digest(base::as_bytes("page"), before);
  PrefixedHash moved = std::move(hash);
  Digest after;
  moved.digest(base::as_bytes("page"), after);
  EXPECT_EQ(before, after);
}

}  // namespace
}  // namespace holdfast::crypto
