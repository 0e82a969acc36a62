// What goes wrong between the driver and a store, one thing at a time, on a real gateway.
#include <gmock/gmock.h>

#include <future>

#include "base/error.h"
#include "storage/contents.h"
#include "storage/damage.h"
#include "storage/gateway/gateway.h"
#include "storage/object_store.h"

namespace holdfast::storage {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr std::size_t kMiB = 1024 * 1024;

class WrongKeys final : public s3::CredentialSource {
 public:
  WrongKeys(std::string access, std::string secret)
      : access_(std::move(access)), secret_(std::move(secret)) {}
  std::shared_ptr<const s3::Credentials> current() override {
    auto credentials = std::make_shared<s3::Credentials>();
    credentials->access_key = access_;
    credentials->secret_key = crypto::SecretText(std::string(secret_));
    return credentials;
  }
  bool refused(const s3::Credentials& /*credentials*/) override {
    ++refusals_;
    return false;
  }
  std::string describe() const override { return "the wrong keys"; }

 private:
  const std::string access_;
  const std::string secret_;
  int refusals_ = 0;
};

base::Error error_of(Storage& storage) {
  try {
    storage.put("x", make_content(10, 1));
  } catch (const base::Error& error) {
    return error;
  }
  return {base::ErrorKind::kInterrupted, "there was no error"};
}

s3::Options at(const char* endpoint, std::string bucket = "plain") {
  return {.bucket = std::move(bucket), .endpoint = endpoint};
}

TEST(S3Faults, AMissingBucketIsNamedAtOnce) {
  const base::Error error = error_of(*gateway_storage(at(kPlain, "no-such-bucket")));
  EXPECT_THAT(error.what(), AllOf(HasSubstr("NoSuchBucket"), HasSubstr("no-such-bucket")));
  EXPECT_THAT(error.hint(), HasSubstr("create the bucket"));
}

TEST(S3Faults, WrongKeysAreNotTriedAgainAndNeverShown) {
  s3::Options options = at(kPlain);
  options.endpoint = from_environment(kPlain);
  const auto with = [&](std::string access, std::string secret) {
    return error_of(*s3::open(options,
                              std::make_unique<WrongKeys>(std::move(access), std::move(secret)),
                              system_clock(), system_random()));
  };
  const base::Error wrong_secret = with(from_environment("HOLDFAST_S3_ACCESS_KEY"), "guessed");
  EXPECT_EQ(wrong_secret.kind(), base::ErrorKind::kPermission);
  EXPECT_THAT(wrong_secret.what(), HasSubstr("SignatureDoesNotMatch"));
  EXPECT_THAT(wrong_secret.hint(), HasSubstr("the wrong keys"));
  const base::Error unknown = with("nobody", "guessed");
  EXPECT_EQ(unknown.kind(), base::ErrorKind::kPermission);
  for (const base::Error& error : {wrong_secret, unknown}) {
    EXPECT_THAT(std::string(error.what()) + error.hint(), testing::Not(HasSubstr("guessed")));
  }
}

TEST(S3Faults, ACertificateThatNobodyVouchesForIsRefused) {
  s3::Options options = at(kTls);
  options.endpoint = from_environment(kTls);
  const auto storage =
      s3::open(options, std::make_unique<GatewayCredentials>(), system_clock(), system_random());
  const base::Error error = error_of(*storage);
  EXPECT_EQ(error.kind(), base::ErrorKind::kFailed);
  EXPECT_THAT(error.hint(), HasSubstr("ca_file"));
}

TEST(S3Faults, WhereNobodyAnswersItGivesUpInTime) {
  s3::Options options = at(kPlain);
  options.endpoint = "http://127.0.0.1:1";
  options.retry_for = std::chrono::seconds(1);
  const auto storage =
      s3::open(options, std::make_unique<GatewayCredentials>(), system_clock(), system_random());
  const base::Error error = error_of(*storage);
  EXPECT_EQ(error.kind(), base::ErrorKind::kUnavailable);
  EXPECT_THAT(error.what(), HasSubstr("given up after"));
}

// An hour off, requests are refused until they are signed by the store's time.
TEST(S3Faults, AWrongClockIsCorrectedAndNamed) {
  const auto storage = gateway_storage(at(kSkewed));
  EXPECT_EQ(storage->put("x", make_content(10, 1)), PutResult::kCreated);
  EXPECT_EQ(storage->get("x", 10), make_content(10, 1));
  bool named = false;
  for (const StoreFinding& finding : storage->object_store()->examine()) {
    if (finding.what != "clock") continue;
    named = true;
    EXPECT_EQ(finding.verdict, StoreFinding::Verdict::kAttention);
    EXPECT_THAT(finding.detail, HasSubstr("behind"));
  }
  EXPECT_TRUE(named);
}

TEST(S3Faults, APutWhoseAnswerWasLostIsDone) {
  s3::Options options = at(kLosingAnswers);
  const auto storage = gateway_storage(options);
  for (int i = 0; i < 20; ++i) {
    const std::string name = "backups/" + std::to_string(i);
    EXPECT_EQ(storage->put(name, make_content(1000, 1)), PutResult::kCreated) << i;
    EXPECT_EQ(storage->put(name, make_content(1000, 2)), PutResult::kExists) << i;
    EXPECT_EQ(storage->get(name, 1000), make_content(1000, 1)) << i;
  }
}

TEST(S3Faults, NothingOfAPutInPartsIsLeftBehind) {
  const auto storage = gateway_storage(at(kPlain));
  base::AlignedBuffer buffer(70 * kMiB + 5);
  fill_content(buffer.span(), 1);
  const base::ByteView content = buffer.span().first(70 * kMiB + 5);
  EXPECT_EQ(storage->put("packs/large", content), PutResult::kCreated);
  EXPECT_EQ(storage->put("packs/large", content), PutResult::kExists);
  EXPECT_TRUE(std::ranges::equal(content_of(*storage, "packs/large"), content));
  EXPECT_TRUE(storage->object_store()->unfinished_uploads().empty());
}

// 500 KB at 200 KB a second; what is sent is paid for by what comes behind it.
TEST(S3Faults, KeepsBelowItsRate) {
  s3::Options options = at(kPlain);
  options.rate_bytes = 200'000;
  const auto storage = gateway_storage(options);
  const auto before = std::chrono::steady_clock::now();
  for (const char* name : {"a", "b", "c", "d", "e"}) storage->put(name, make_content(100'000, 1));
  EXPECT_GT(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(1500));
}

TEST(S3Faults, ExaminesAStoreAndFindsItGood) {
  const auto storage = gateway_storage(at(kPlain));
  for (const StoreFinding& finding : storage->object_store()->examine()) {
    EXPECT_EQ(finding.verdict, StoreFinding::Verdict::kGood) << finding.what << finding.detail;
  }
  EXPECT_THAT(storage->object_store()->examine(), testing::SizeIs(4));
}

TEST(S3Faults, NamesAStoreThatOverwrites) {
  bool named = false;
  const auto storage = gateway_storage(at(kOverwriting));
  for (const StoreFinding& finding : storage->object_store()->examine()) {
    named = named || finding.verdict == StoreFinding::Verdict::kAttention;
  }
  EXPECT_TRUE(named);
}

// Someone with the store's credentials deletes and overwrites; what was first is still there.
TEST(S3Faults, TheFirstVersionsAreTheTruth) {
  const std::string prefix = random_prefix();
  s3::Options options = at(kPlain, "versioned");
  options.prefix = prefix;
  const auto storage = gateway_storage(options);
  storage->put("backups/a", make_content(100, 1));
  storage->put("backups/b", make_content(100, 2));
  storage->remove("backups/a");
  storage->put("backups/a", make_content(50, 3));
  storage->remove("backups/b");
  options.first_versions = true;
  const auto first = gateway_storage(options);
  EXPECT_EQ(first->get("backups/a", 100), make_content(100, 1));
  EXPECT_EQ(first->get("backups/b", 100), make_content(100, 2));
  EXPECT_EQ(first->stat("backups/a")->size_bytes, 100u);
  EXPECT_THAT(names_in(*first, "backups/"), testing::ElementsAre("backups/a", "backups/b"));
  EXPECT_THROW(first->put("backups/c", {}), base::Error);
  EXPECT_THROW(first->remove("backups/a"), base::Error);
}

TEST(S3Faults, LocksWhatItPutsButWhatIsTransient) {
  s3::Options options = at(kPlain, "locked");
  options.object_lock = std::chrono::seconds(3600);
  const auto storage = gateway_storage(options);
  storage->put("packs/a", make_content(10, 1), Use::kBulk);
  storage->put("locks/a", make_content(10, 1), Use::kTransient);
  const auto now = system_clock().now();
  const auto state = storage->object_store()->state("packs/a");
  ASSERT_TRUE(state && state->locked_until);
  EXPECT_GT(*state->locked_until, now + std::chrono::minutes(70));
  EXPECT_FALSE(storage->object_store()->state("locks/a")->locked_until);
  storage->object_store()->lock_until("packs/a", now + std::chrono::hours(5));
  EXPECT_GT(*storage->object_store()->state("packs/a")->locked_until, now + std::chrono::hours(4));
}

TEST(S3Faults, EncryptsByTheStoresKeyWhereAsked) {
  const auto storage = gateway_storage({.bucket = "plain", .endpoint = kTls, .kms_key = "key-1"});
  EXPECT_EQ(storage->put("packs/a", make_content(1000, 1)), PutResult::kCreated);
  EXPECT_EQ(storage->get("packs/a", 1000), make_content(1000, 1));
  const auto unknown =
      gateway_storage({.bucket = "plain", .endpoint = kTls, .kms_key = "no-such-key"});
  EXPECT_NE(error_of(*unknown).kind(), base::ErrorKind::kInterrupted);
}

}  // namespace
}  // namespace holdfast::storage
