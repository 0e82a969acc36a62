// Objects in a bucket: the driver for Amazon S3 and what speaks its protocol. docs/s3.md describes
// what it asks of a store.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "crypto/kdf.h"
#include "storage/s3/credentials.h"
#include "storage/storage.h"

namespace holdfast::storage::s3 {

struct Options {
  std::string bucket{};
  std::string prefix{};    // of all names, without '/' at its ends; empty: the whole bucket
  std::string endpoint{};  // "https://host[:port]"; empty: Amazon's own of the region
  std::string region{};    // empty: us-east-1
  std::optional<bool> path_style{};  // bucket in the path; by default for every endpoint given
  std::string ca_file{};             // beside none: the system's certificates
  std::string proxy{};               // empty: as the environment says (https_proxy, no_proxy)

  std::string storage_class{};  // of Use::kBulk; empty: the bucket's
  std::string kms_key{};        // server-side encryption with that key
  bool encrypt = false;         // server-side encryption with the store's own key (AES256)
  std::optional<base::Duration> object_lock{};  // of all but Use::kTransient
  std::string tags{};                           // "a=b&c=d", encoded as in a URL

  std::uint64_t rate_bytes = 0;  // a second, up and down together; 0: no limit
  int requests_at_once = 16;
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds stall_timeout{30'000};  // without a byte in either direction
  std::chrono::milliseconds retry_for{120'000};     // how long a failing request is tried again
  // Reads the oldest version of every object, whether it was overwritten or deleted since: what was
  // put first is the truth here. Nothing can be written.
  bool first_versions = false;
};

// For Options::tags.
std::string encoded_tags(const std::vector<std::pair<std::string, std::string>>& tags);

// Makes no request yet. The clock and the randomness outlive it.
std::unique_ptr<Storage> open(Options options, std::unique_ptr<CredentialSource> credentials,
                              const base::Clock& clock, crypto::Random& random);

}  // namespace holdfast::storage::s3
