// Who asks: the access key and secret of the requests, wherever they come from. The usual AWS
// chain: environment, files and profiles, a web identity, a container's or an instance's metadata
// service.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/time.h"
#include "crypto/secret.h"

namespace holdfast::storage::s3 {

struct Credentials {
  std::string access_key;
  crypto::SecretText secret_key;
  crypto::SecretText session_token;   // empty: none
  std::optional<base::Time> expires;  // none: never
};

// Thread-safe.
class CredentialSource {
 public:
  virtual ~CredentialSource() = default;

  // Those that hold now: fetched once, and renewed some minutes before they expire; while a renewal
  // fails the old ones serve until their end. kConfig, saying where was looked, where there are
  // none; kUnavailable where a metadata service does not answer.
  virtual std::shared_ptr<const Credentials> current() = 0;

  // The store refused these: the next current() fetches new ones where that can help. False where
  // they cannot change.
  virtual bool refused(const Credentials& credentials) = 0;

  // "the environment", "profile backup of /root/.aws/credentials", … for messages; no secret.
  virtual std::string describe() const = 0;
};

struct CredentialOptions {
  std::string file{};     // a file in the form of ~/.aws/credentials, alone; empty: the usual chain
  std::string profile{};  // empty: $AWS_PROFILE, or "default"
};

// The clock outlives it. Reads nothing yet.
std::unique_ptr<CredentialSource> find_credentials(CredentialOptions options,
                                                   const base::Clock& clock);

// Fixed ones.
std::unique_ptr<CredentialSource> fixed_credentials(Credentials credentials);

// The region that the environment or the profile names; empty: none.
std::string usual_region(const CredentialOptions& options);

// The file with long-lived keys that the chain looks into, whether it is there or not.
std::filesystem::path credentials_file(const CredentialOptions& options);

}  // namespace holdfast::storage::s3
