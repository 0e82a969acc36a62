#include "storage/s3/answers.h"

#include <gmock/gmock.h>

#include <random>

#include "base/error.h"

namespace holdfast::storage::s3 {
namespace {

using testing::ElementsAre;

constexpr std::string_view kList =
    R"(<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
<NextContinuationToken>next</NextContinuationToken>
<Contents><Key>a%2Bb</Key><LastModified>2024-01-17T12:00:00.987Z</LastModified><Size>5</Size>
<StorageClass>DEEP_ARCHIVE</StorageClass></Contents>
<Contents><Key>c</Key><LastModified>2024-01-17T12:00:01Z</LastModified><Size>0</Size>
<StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>)";

TEST(S3Answers, ReadsAPageOfAListing) {
  const ListPage page = read_list(base::as_bytes(kList));
  ASSERT_EQ(page.objects.size(), 2u);
  EXPECT_EQ(page.objects[0].info.name, "a+b");
  EXPECT_EQ(page.objects[0].info.size_bytes, 5u);
  EXPECT_EQ(page.objects[0].info.storage_class, "DEEP_ARCHIVE");
  // Whole seconds, as a HEAD has them.
  EXPECT_EQ(base::format_time(page.objects[0].info.modified), "2024-01-17T12:00:00Z");
  EXPECT_EQ(page.objects[1].info.storage_class, "");
  EXPECT_EQ(page.next, "next");
}

TEST(S3Answers, ReadsVersions) {
  const ListPage page = read_versions(base::as_bytes(
      "<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>"
      "<NextVersionIdMarker>v</NextVersionIdMarker>"
      "<DeleteMarker><Key>k</Key><VersionId>3</VersionId>"
      "<LastModified>2024-01-17T12:00:00Z</LastModified></DeleteMarker>"
      "<Version><Key>k</Key><VersionId>2</VersionId><Size>7</Size>"
      "<LastModified>2024-01-16T12:00:00Z</LastModified></Version></ListVersionsResult>"));
  ASSERT_EQ(page.objects.size(), 2u);
  EXPECT_TRUE(page.objects[0].is_marker);
  EXPECT_FALSE(page.objects[1].is_marker);
  EXPECT_EQ(page.objects[1].version, "2");
  EXPECT_EQ(page.next, "k");
  EXPECT_EQ(page.next_version, "v");
}

TEST(S3Answers, ReadsErrorsAndBearsThatThereIsNone) {
  const ErrorAnswer error = read_error(base::as_bytes(
      "<Error><Code>PermanentRedirect</Code><Message>m</Message><Region>r</Region></Error>"));
  EXPECT_EQ(error.code + "/" + error.message + "/" + error.region, "PermanentRedirect/m/r");
  for (const char* other : {"", "nothing", "<html><Code>x</Code></html>", "<Error"}) {
    EXPECT_EQ(read_error(base::as_bytes(other)).code, "") << other;
  }
}

TEST(S3Answers, ReadsWhatABatchOfDeletesCouldNotDo) {
  const auto failures = read_delete_failures(base::as_bytes(
      "<DeleteResult><Error><Key>a&amp;b</Key><Code>AccessDenied</Code></Error></DeleteResult>"));
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_EQ(failures[0].key, "a&b");
  EXPECT_EQ(failures[0].code, "AccessDenied");
}

// Whatever a store answers: values or an Error, never more. Mutations of a good answer.
TEST(S3Answers, AreNotTrusted) {
  std::mt19937 random(1);
  for (int i = 0; i < 20'000; ++i) {
    std::string text(kList);
    for (unsigned n = 1 + random() % 4; n > 0; --n) {
      switch (random() % 3) {
        case 0:
          text[random() % text.size()] = static_cast<char>(random());
          break;
        case 1:
          text.erase(random() % text.size(), random() % 40);
          break;
        default:
          text.insert(random() % text.size(), text.substr(random() % text.size(), 30));
      }
      if (text.empty()) text = "x";
    }
    const base::ByteView body = base::as_bytes(text);
    for (const auto& read :
         {+[](base::ByteView b) { read_list(b); }, +[](base::ByteView b) { read_versions(b); },
          +[](base::ByteView b) { read_uploads(b); }, +[](base::ByteView b) { read_upload_id(b); },
          +[](base::ByteView b) { read_delete_failures(b); },
          +[](base::ByteView b) { read_error(b); }}) {
      try {
        read(body);
      } catch (const base::Error& error) {
        EXPECT_EQ(error.kind(), base::ErrorKind::kFailed);
      }
    }
  }
}

TEST(S3Answers, AListingThatBreaksOffIsAnError) {
  EXPECT_THROW(read_list(base::as_bytes("<ListBucketResult><IsTruncated>true</IsTruncated>"
                                        "</ListBucketResult>")),
               base::Error);
}

TEST(S3Answers, ReadsTheDatesOfHeaders) {
  const auto time = parse_http_date("Wed, 21 Oct 2015 07:28:00 GMT");
  ASSERT_TRUE(time);
  EXPECT_EQ(base::format_time(*time), "2015-10-21T07:28:00Z");
  EXPECT_FALSE(parse_http_date("yesterday"));
}

}  // namespace
}  // namespace holdfast::storage::s3
