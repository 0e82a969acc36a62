#include "storage/s3/address.h"

#include <fmt/format.h>

#include "base/error.h"
#include "storage/s3/signature.h"

namespace holdfast::storage::s3 {
namespace {

std::string amazon_host(const std::string& region) {
  return fmt::format("s3.{}.amazonaws.com{}", region, region.starts_with("cn-") ? ".cn" : "");
}

[[noreturn]] void bad_endpoint(const std::string& endpoint) {
  throw base::Error(base::ErrorKind::kConfig, fmt::format("\"{}\" is no endpoint", endpoint),
                    "an endpoint looks like https://s3.example.com or http://127.0.0.1:9000");
}

}  // namespace

std::string Address::path_of(std::string_view key) const { return base + url_encoded(key, true); }

Address address_of(const Options& options) {
  Address address;
  address.region = options.region.empty() ? "us-east-1" : options.region;
  std::string endpoint = options.endpoint;
  if (endpoint.empty()) endpoint = "https://" + amazon_host(address.region);
  const std::size_t separator = endpoint.find("://");
  if (separator == std::string::npos) bad_endpoint(endpoint);
  address.scheme = endpoint.substr(0, separator);
  if (address.scheme != "http" && address.scheme != "https") bad_endpoint(endpoint);
  std::string rest = endpoint.substr(separator + 3);
  while (rest.ends_with('/')) rest.pop_back();
  if (rest.empty() || rest.find_first_of("?#@ \t\r\n") != std::string::npos) bad_endpoint(endpoint);
  const std::size_t slash = rest.find('/');
  address.host = rest.substr(0, slash);
  address.base = slash == std::string::npos ? "/" : rest.substr(slash) + "/";
  // Signed is the host as clients send it: without the scheme's usual port.
  const std::string usual_port = address.scheme == "https" ? ":443" : ":80";
  if (address.host.ends_with(usual_port)) {
    address.host.resize(address.host.size() - usual_port.size());
  }

  // A certificate for *.s3.… does not hold for a bucket with a dot in its name.
  const bool amazon =
      options.endpoint.empty() || address.host.find(".amazonaws.com") != std::string::npos;
  const bool path_style =
      options.path_style.value_or(!amazon || options.bucket.find('.') != std::string::npos);
  if (path_style) {
    address.base += url_encoded(options.bucket, false) + "/";
  } else {
    address.host = options.bucket + "." + address.host;
  }
  return address;
}

}  // namespace holdfast::storage::s3
