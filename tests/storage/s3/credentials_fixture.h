// A machine without any credentials, and a clock that the test sets.
#pragma once

#include <gmock/gmock.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/error.h"
#include "storage/s3/credentials.h"
#include "storage/temporary_directory.h"

namespace holdfast::storage::s3 {

class SetClock final : public base::Clock {
 public:
  base::Time now() const override { return base::Time(base::Duration(now_)); }
  void set(std::string_view time) {
    now_ = base::parse_time(time, {}).value().time_since_epoch().count();
  }
  void advance(base::Duration by) { now_ += by.count(); }

 private:
  std::atomic<std::int64_t> now_ = 0;
};

class CredentialsTest : public testing::Test {
 protected:
  CredentialsTest() {
    for (const char* name :
         {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
          "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_REGION", "AWS_DEFAULT_REGION",
          "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
          "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
          "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_ENDPOINT_URL_STS"}) {
      ::unsetenv(name);
    }
    set("HOME", directory_.path().string());
    set("AWS_EC2_METADATA_DISABLED", "true");
    clock_.set("2026-01-01T00:00:00Z");
  }

  static void set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }
  // The path of a file with this content; relative to the home directory.
  std::string write(const std::string& name, const std::string& content) {
    const std::filesystem::path path = directory_.path() / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }
  std::unique_ptr<CredentialSource> source(CredentialOptions options = {}) {
    return find_credentials(std::move(options), clock_);
  }
  static base::Error failure(CredentialSource& source) {
    try {
      source.current();
    } catch (const base::Error& error) {
      return error;
    }
    ADD_FAILURE() << "no error";
    return {base::ErrorKind::kFailed, ""};
  }
  base::Error failure(CredentialOptions options = {}) {
    return failure(*source(std::move(options)));
  }

  TemporaryDirectory directory_;
  SetClock clock_;
};

}  // namespace holdfast::storage::s3
