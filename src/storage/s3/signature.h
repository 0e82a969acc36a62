// AWS Signature Version 4, with the signature in the headers:
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. Our own, since
// libcurl 7.88 neither sorts nor encodes the query, so that a listing's signature is refused.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"
#include "storage/s3/credentials.h"
#include "storage/s3/http.h"

namespace holdfast::storage::s3 {

using Query = std::vector<std::pair<std::string, std::string>>;  // not encoded

// All but letters, digits and "-._~" (and '/' where it is told so) as %XX.
std::string url_encoded(std::string_view text, bool keep_slashes);
std::string url_decoded(std::string_view text);
// Encoded, in the order of the names: what is signed, and what is sent.
std::string canonical_query(Query query);

struct ToSign {
  Method method = Method::kGet;
  std::string path;   // encoded
  std::string query;  // canonical
  std::string host;
  std::string payload_sha256;  // hex
};

// Adds host, x-amz-date, x-amz-content-sha256, x-amz-security-token and authorization to the
// headers. Signed are the host, Content-MD5 and every x-amz-* header.
void sign(const ToSign& request, const Credentials& credentials, std::string_view region,
          base::Time now, Headers& headers);

}  // namespace holdfast::storage::s3
