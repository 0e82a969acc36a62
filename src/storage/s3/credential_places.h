// The places where credentials may be found, one by one; credentials.cc goes through them.
// Internal to the S3 driver.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "storage/s3/credentials.h"

namespace holdfast::storage::s3 {

struct Lookup {
  std::optional<Credentials> credentials;
  std::string why_not;  // where there are none: "AWS_ACCESS_KEY_ID is not set"
};

// Used by one thread at a time.
class CredentialPlace {
 public:
  virtual ~CredentialPlace() = default;

  // No credentials where the place is not in use on this machine. kConfig where it is and what
  // stands there is wrong; kUnavailable or kTimeout where a service does not answer.
  virtual Lookup look() = 0;
  virtual std::string describe() const = 0;
  // Whether a later look may find others.
  virtual bool can_change() const { return true; }
};

std::unique_ptr<CredentialPlace> environment_place();
// A role whose token a file holds (AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN).
std::unique_ptr<CredentialPlace> web_identity_place();
// Files and profiles.
std::unique_ptr<CredentialPlace> profile_place(CredentialOptions options);
// The metadata service of a container, named by AWS_CONTAINER_CREDENTIALS_*_URI.
std::unique_ptr<CredentialPlace> container_place();
// The metadata service of an instance (IMDSv2). A machine without one is told within a second.
std::unique_ptr<CredentialPlace> instance_place();

// The variable's value; empty where it is not set.
std::string environment(const char* name);

// What every place passes its findings through, since they end in HTTP headers: kConfig, naming
// `where`, for an empty key or secret, or for what holds other than printable ASCII or is too long.
Credentials checked(Credentials credentials, const std::string& where);

// {"AccessKeyId", "SecretAccessKey", `token_name`, "Expiration"}: how programs and metadata
// services say it. kConfig, naming `where`, for anything else.
Credentials parse_credentials_json(const crypto::SecretText& text, const char* token_name,
                                   const std::string& where);

struct WebIdentity {
  std::string role_arn;
  std::string token_file;
  std::string session_name;  // empty: "holdfast"
  std::string region;        // whose STS is asked; empty: the global one
};
// STS AssumeRoleWithWebIdentity.
Credentials assume_role(const WebIdentity& identity);

}  // namespace holdfast::storage::s3
