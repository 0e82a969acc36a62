// The few small requests by which credentials are fetched: to metadata services and to STS. The
// data path has its own (http.h).
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "crypto/secret.h"

namespace holdfast::storage::s3 {

struct SmallRequest {
  std::string method = "GET";  // or PUT, POST
  std::string url;
  std::vector<std::string> headers{};  // "Name: value"
  crypto::SecretText secret_header{};  // one more, if not empty
  crypto::SecretText body{};           // of PUT and POST
  bool direct = false;                 // past any proxy
  std::string ca_file{};               // empty: the system's certificates
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds timeout{15'000};  // of all of it
};

struct SmallAnswer {
  long status = 0;
  crypto::SecretText body;  // at most 64 KiB
};

// Redirects are answers, not followed. kTimeout or kUnavailable, naming the URL, where no whole
// answer came; a body that is too large is kUnavailable as well: no service sends such ones.
SmallAnswer send(const SmallRequest& request);

}  // namespace holdfast::storage::s3
