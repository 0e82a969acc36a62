// The gateway that gateway_test.sh has started, and the ways to it: environment variables with
// endpoints.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <string>

#include "storage/s3/s3.h"

namespace holdfast::storage {

inline constexpr const char* kPlain = "HOLDFAST_S3_PLAIN";
inline constexpr const char* kTls = "HOLDFAST_S3_TLS";
// Through the tests' proxy: one request in five fails in some way.
inline constexpr const char* kFaulty = "HOLDFAST_S3_FAULTY";
// A third of the answers is lost.
inline constexpr const char* kLosingAnswers = "HOLDFAST_S3_LOSING_ANSWERS";
inline constexpr const char* kSkewed = "HOLDFAST_S3_SKEWED";  // a clock that is an hour ahead
// As a server that knows no If-None-Match, one that refuses it, one that refuses newer checksums.
inline constexpr const char* kOverwriting = "HOLDFAST_S3_OVERWRITING";
inline constexpr const char* kRefusingConditions = "HOLDFAST_S3_REFUSING_CONDITIONS";
inline constexpr const char* kRefusingChecksums = "HOLDFAST_S3_REFUSING_CHECKSUMS";

inline std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr)
    throw std::runtime_error(std::string(name) + " is not set: run gateway_test.sh");
  return value;
}

inline crypto::Random& system_random() {
  static crypto::SystemRandom random;
  return random;
}

inline const base::Clock& system_clock() {
  static const base::SystemClock clock;
  return clock;
}

inline std::string random_prefix() {
  std::array<std::uint8_t, 8> bytes{};
  system_random().fill(bytes);
  return "test-" + base::to_hex(bytes);
}

class GatewayCredentials final : public s3::CredentialSource {
 public:
  std::shared_ptr<const s3::Credentials> current() override {
    auto credentials = std::make_shared<s3::Credentials>();
    credentials->access_key = from_environment("HOLDFAST_S3_ACCESS_KEY");
    credentials->secret_key = crypto::SecretText(from_environment("HOLDFAST_S3_SECRET_KEY"));
    return credentials;
  }
  bool refused(const s3::Credentials& /*credentials*/) override { return false; }
  std::string describe() const override { return "the gateway's own"; }
};

// `options.endpoint` is the variable's name. A prefix of its own where none is given.
inline std::shared_ptr<Storage> gateway_storage(s3::Options options) {
  if (options.endpoint == kTls) options.ca_file = from_environment("HOLDFAST_S3_CA_FILE");
  options.endpoint = from_environment(options.endpoint.c_str());
  if (options.prefix.empty()) options.prefix = random_prefix();
  return s3::open(std::move(options), std::make_unique<GatewayCredentials>(), system_clock(),
                  system_random());
}

}  // namespace holdfast::storage
