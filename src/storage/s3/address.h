// Where a bucket's objects are: from endpoint, region and bucket to hosts, paths and URLs.
// Internal to the S3 driver.
#pragma once

#include <string>
#include <string_view>

#include "storage/s3/s3.h"

namespace holdfast::storage::s3 {

struct Address {
  std::string scheme;  // "https"
  std::string host;    // with the port where it is not the usual one, and the bucket where it
                       // stands in the host
  std::string base;    // encoded path before the key: "/bucket/", or "/"
  std::string region;

  std::string path_of(std::string_view key) const;  // encoded
};

// kConfig for an endpoint that is no URL of a server.
Address address_of(const Options& options);

}  // namespace holdfast::storage::s3
