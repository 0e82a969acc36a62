// What S3 answers in XML, read into values. Nothing in it is trusted: sizes are bounded by the
// request that asked, and what cannot be understood is an error. Internal to the S3 driver.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "storage/storage.h"

namespace holdfast::storage::s3 {

struct ErrorAnswer {
  std::string code;  // "NoSuchBucket"; empty where there is none
  std::string message;
  std::string region;  // where the bucket is, if the error tells
};
// Never throws: an error without a body is common.
ErrorAnswer read_error(base::ByteView body);

// A page of ListObjectsV2 or ListObjectVersions.
struct ListedObject {
  ObjectInfo info;         // the name is the whole key
  std::string version;     // of a listing of versions
  bool is_marker = false;  // a deletion, of a listing of versions
};
struct ListPage {
  std::vector<ListedObject> objects;
  std::string next;          // continuation token or key marker; empty: it is the last page
  std::string next_version;  // version marker
};
ListPage read_list(base::ByteView body);
ListPage read_versions(base::ByteView body);

struct UploadsPage {
  struct Upload {
    std::string key;
    std::string id;
    base::Time begun;
  };
  std::vector<Upload> uploads;
  std::string next_key;  // empty: it is the last page
  std::string next_id;
};
UploadsPage read_uploads(base::ByteView body);

std::string read_upload_id(base::ByteView body);

// Of a batch of deletes: those that failed.
struct DeleteFailure {
  std::string key;
  std::string code;
  std::string message;
};
std::vector<DeleteFailure> read_delete_failures(base::ByteView body);

// The text of an element anywhere below the root: "Status" of GetBucketVersioning, say; empty:
// none.
std::string read_element(base::ByteView body, const char* name);

// "2015-10-21T07:28:00.000Z", with a fraction of any length (Ceph gives nanoseconds). Headers have
// none, so it is dropped: two views of one object agree.
std::optional<base::Time> parse_moment(std::string_view text);

// "Wed, 21 Oct 2015 07:28:00 GMT", in whole seconds.
std::optional<base::Time> parse_http_date(std::string_view text);

}  // namespace holdfast::storage::s3
