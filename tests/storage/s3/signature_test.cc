// Signature Version 4 against the examples of Amazon's own page:
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
#include "storage/s3/signature.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "crypto/hash.h"

namespace holdfast::storage::s3 {
namespace {

using testing::HasSubstr;

std::string signature_of(const Query& query) {
  Credentials credentials;
  credentials.access_key = "AKIAIOSFODNN7EXAMPLE";
  credentials.secret_key = crypto::SecretText("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
  Headers headers = {{"range", "bytes=0-9"}};  // not signed
  sign({.method = Method::kGet,
        .path = "/",
        .query = canonical_query(query),
        .host = "examplebucket.s3.amazonaws.com",
        .payload_sha256 = base::to_hex(crypto::sha256({}))},
       credentials, "us-east-1", *base::parse_time("2013-05-24T00:00:00Z", {}), headers);
  const auto found = std::find_if(headers.begin(), headers.end(),
                                  [](const auto& h) { return h.first == "authorization"; });
  return found == headers.end() ? "" : found->second;
}

TEST(Signature, IsThatOfTheExamples) {
  EXPECT_THAT(
      signature_of({{"lifecycle", ""}}),
      HasSubstr("Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
  EXPECT_THAT(
      signature_of({{"prefix", "J"}, {"max-keys", "2"}}),
      HasSubstr("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
}

TEST(Signature, NamesKeyScopeAndSignedHeaders) {
  EXPECT_THAT(signature_of({}),
              HasSubstr("Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
                        "SignedHeaders=host;x-amz-content-sha256;x-amz-date, "));
}

TEST(Signature, EncodesAsS3Does) {
  EXPECT_EQ(url_encoded("a/b c+d~e%f\xc3\xa9", false), "a%2Fb%20c%2Bd~e%25f%C3%A9");
  EXPECT_EQ(url_encoded("a/b", true), "a/b");
  EXPECT_EQ(url_decoded("a%2Fb+c%2"), "a/b c%2");
  EXPECT_EQ(url_decoded(url_encoded("\x01 %/+~\xff", false)), "\x01 %/+~\xff");
  EXPECT_EQ(canonical_query({{"b", "2 3"}, {"a", ""}, {"a-b", "&"}}), "a=&a-b=%26&b=2%203");
}

}  // namespace
}  // namespace holdfast::storage::s3
