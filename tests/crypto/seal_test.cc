#include "crypto/seal.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "crypto/test_bytes.h"

namespace holdfast::crypto {
namespace {

// RFC 7748, section 6.1.
constexpr std::string_view kAliceSecret =
    "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
constexpr std::string_view kBobSecret =
    "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";

const base::Bytes kAssociated = base::Bytes{'a', 's', 's', 'o', 'c', 'i', 'a', 't', 'e', 'd'};

TEST(SealTest, PublicKeysOfRfc7748) {
  EXPECT_EQ(base::to_hex(public_key_of(key_from_hex<ExchangeKey>(kAliceSecret))),
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  EXPECT_EQ(base::to_hex(public_key_of(key_from_hex<ExchangeKey>(kBobSecret))),
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
}

// Alice's key as the ephemeral one, sealed to Bob. Computed by another implementation (Python's
// cryptography) from the definition in docs/format.md.
TEST(SealTest, GoldenVector) {
  FixedRandom random(from_hex(kAliceSecret));
  const ExchangeKey bob = key_from_hex<ExchangeKey>(kBobSecret);
  const base::Bytes sealed =
      seal_to(public_key_of(bob), "pack key", kAssociated, base::as_bytes("message"), random);
  EXPECT_EQ(base::to_hex(sealed),
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
            "558ed30cb217b747df03717406aa90ef1f5240ae676142");
  EXPECT_EQ(sealed.size(), kSealOverhead + 7);
  const auto opened = open_sealed(bob, "pack key", kAssociated, sealed);
  ASSERT_TRUE(opened);
  EXPECT_EQ(base::as_text(*opened), "message");
}

class SealRoundTripTest : public ::testing::Test {
 protected:
  SystemRandom random_;
  ExchangeKey secret_ = new_exchange_key(random_);
  base::Bytes message_ = base::Bytes(32, 0x77);
  base::Bytes sealed_ = seal_to(public_key_of(secret_), "pack key", kAssociated, message_, random_);
};

TEST_F(SealRoundTripTest, OpensOnlyWithItsKeyContextAndData) {
  EXPECT_EQ(open_sealed(secret_, "pack key", kAssociated, sealed_), message_);
  EXPECT_FALSE(open_sealed(new_exchange_key(random_), "pack key", kAssociated, sealed_));
  EXPECT_FALSE(open_sealed(secret_, "log key", kAssociated, sealed_));
  EXPECT_FALSE(open_sealed(secret_, "pack key", {}, sealed_));
}

TEST_F(SealRoundTripTest, EveryFlippedBitIsFound) {
  for (std::size_t bit = 0; bit < sealed_.size() * 8; ++bit) {
    // X25519 ignores the top bit of a public key (RFC 7748, section 5); the salt does not.
    base::Bytes bad = sealed_;
    bad[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    ASSERT_FALSE(open_sealed(secret_, "pack key", kAssociated, bad)) << bit;
  }
}

TEST_F(SealRoundTripTest, EveryLengthIsRefusedButTheRightOne) {
  for (std::size_t size = 0; size < sealed_.size(); ++size) {
    ASSERT_FALSE(
        open_sealed(secret_, "pack key", kAssociated, base::ByteView(sealed_).first(size)));
  }
  sealed_.push_back(0);
  EXPECT_FALSE(open_sealed(secret_, "pack key", kAssociated, sealed_));
}

TEST_F(SealRoundTripTest, EachSealingHasAKeyOfItsOwn) {
  const base::Bytes again =
      seal_to(public_key_of(secret_), "pack key", kAssociated, message_, random_);
  EXPECT_NE(again, sealed_);
  EXPECT_FALSE(std::equal(again.begin(), again.begin() + 32, sealed_.begin()));
}

TEST_F(SealRoundTripTest, EmptyMessagesAreMessages) {
  const base::Bytes sealed = seal_to(public_key_of(secret_), "pack key", {}, {}, random_);
  EXPECT_EQ(sealed.size(), kSealOverhead);
  EXPECT_EQ(open_sealed(secret_, "pack key", {}, sealed), base::Bytes{});
}

// With a point of small order everyone would know the shared secret.
TEST_F(SealRoundTripTest, PublicKeysOfSmallOrderAreRefused) {
  PublicKey zero{};
  EXPECT_THROW(seal_to(zero, "pack key", {}, message_, random_), base::Error);
  base::Bytes forged = sealed_;
  std::fill_n(forged.begin(), 32, std::uint8_t{0});
  EXPECT_FALSE(open_sealed(secret_, "pack key", kAssociated, forged));
}

}  // namespace
}  // namespace holdfast::crypto
