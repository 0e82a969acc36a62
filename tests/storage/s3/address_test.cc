#include "storage/s3/address.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace holdfast::storage::s3 {
namespace {

Address address(std::string endpoint, std::string bucket = "backups", std::string region = "",
                std::optional<bool> path_style = std::nullopt) {
  return address_of({.bucket = std::move(bucket),
                     .endpoint = std::move(endpoint),
                     .region = std::move(region),
                     .path_style = path_style});
}

TEST(S3Address, PutsTheBucketIntoAmazonsHosts) {
  const Address frankfurt = address("", "backups", "eu-central-1");
  EXPECT_EQ(frankfurt.scheme + "://" + frankfurt.host,
            "https://backups.s3.eu-central-1.amazonaws.com");
  EXPECT_EQ(frankfurt.path_of("a/b c"), "/a/b%20c");
  EXPECT_EQ(address("").region, "us-east-1");
  EXPECT_EQ(address("", "backups", "cn-north-1").host, "backups.s3.cn-north-1.amazonaws.com.cn");
  EXPECT_EQ(address("https://s3.eu-west-1.amazonaws.com").host,
            "backups.s3.eu-west-1.amazonaws.com");
}

TEST(S3Address, PutsTheBucketIntoThePathElsewhere) {
  const Address own = address("http://127.0.0.1:9000/");
  EXPECT_EQ(own.host, "127.0.0.1:9000");
  EXPECT_EQ(own.path_of("format"), "/backups/format");
  EXPECT_EQ(own.path_of(""), "/backups/");
  EXPECT_EQ(address("https://example.com/storage").path_of("x"), "/storage/backups/x");
  EXPECT_EQ(address("", "a.b").path_of("x"), "/a.b/x");  // no certificate holds for a.b.s3...
}

TEST(S3Address, GoesByTheConfiguration) {
  EXPECT_EQ(address("https://s3.example.com", "b", "", false).host, "b.s3.example.com");
  EXPECT_EQ(address("", "b", "", true).path_of("x"), "/b/x");
}

TEST(S3Address, SignsTheHostAsItIsSent) {
  EXPECT_EQ(address("https://example.com:443").host, "example.com");
  EXPECT_EQ(address("http://example.com:80").host, "example.com");
  EXPECT_EQ(address("http://example.com:443").host, "example.com:443");
}

TEST(S3Address, RefusesWhatIsNoEndpoint) {
  for (const char* endpoint :
       {"example.com", "ftp://example.com", "https://", "https://user:pw@example.com",
        "https://example.com?x", "https://exam ple.com", "https://a\r\nb"}) {
    EXPECT_THROW(address(endpoint), base::Error) << endpoint;
  }
}

}  // namespace
}  // namespace holdfast::storage::s3
