// Credentials in the environment, and what all places share.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "storage/s3/credential_places.h"

namespace holdfast::storage::s3 {
namespace {

using base::Error;
using base::ErrorKind;

class EnvironmentPlace final : public CredentialPlace {
 public:
  Lookup look() override {
    crypto::SecretText secret(environment("AWS_SECRET_ACCESS_KEY"));
    std::string key = environment("AWS_ACCESS_KEY_ID");
    if (key.empty() && secret.empty()) return {{}, "AWS_ACCESS_KEY_ID is not set"};
    if (key.empty() || secret.empty()) {
      throw Error(ErrorKind::kConfig,
                  fmt::format("{} is set in the environment and {} is not",
                              key.empty() ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID",
                              key.empty() ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY"),
                  "set both, or none of them");
    }
    return {checked({.access_key = std::move(key),
                     .secret_key = std::move(secret),
                     .session_token = crypto::SecretText(environment("AWS_SESSION_TOKEN")),
                     .expires = {}},
                    describe()),
            {}};
  }
  std::string describe() const override { return "the environment"; }
  bool can_change() const override { return false; }
};

// As they go into HTTP headers.
bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

std::unique_ptr<CredentialPlace> environment_place() {
  return std::make_unique<EnvironmentPlace>();
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

Credentials checked(Credentials credentials, const std::string& where) {
  constexpr std::size_t kMaxKeyBytes = 256;
  constexpr std::size_t kMaxTokenBytes = std::size_t{16} * 1024;
  const auto expect = [&](std::string_view text, std::size_t least, std::size_t most,
                          std::string_view what) {
    if (text.size() >= least && text.size() <= most && is_printable(text)) return;
    throw Error(
        ErrorKind::kConfig,
        fmt::format("{}: the {} is {}", where, what,
                    text.empty() ? "empty" : "no such thing (its length or its characters)"));
  };
  expect(credentials.access_key, 1, kMaxKeyBytes, "access key");
  expect(credentials.secret_key.view(), 1, kMaxKeyBytes, "secret access key");
  expect(credentials.session_token.view(), 0, kMaxTokenBytes, "session token");
  return credentials;
}

}  // namespace holdfast::storage::s3
