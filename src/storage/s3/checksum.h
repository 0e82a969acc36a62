// The checksum that goes with every upload, so that the store refuses what does not arrive as it
// was sent. Internal to the S3 driver.
#pragma once

#include <string>

#include "base/bytes.h"
#include "storage/s3/http.h"

namespace holdfast::storage::s3 {

// kSha256: x-amz-checksum-sha256, of which Ceph wants to be told by x-amz-sdk-checksum-algorithm;
// the store keeps it and gives it back with the object. kMd5: Content-MD5, for stores that refuse
// the newer headers.
enum class ChecksumKind { kSha256, kMd5 };

struct Checksum {
  std::string sha256_hex;  // for the signature, whatever the kind
  std::string sha256_base64;
};
Checksum checksum_of(base::ByteView content);

void add_checksum(ChecksumKind kind, base::ByteView content, const Checksum& checksum,
                  Headers& headers);

// Whether a whole object arrived as it was stored, as far as the answer's headers tell.
bool is_intact(const HttpAnswer& answer, base::ByteView content);

}  // namespace holdfast::storage::s3
