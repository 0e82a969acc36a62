// Credentials by files and profiles: keys, a program that gives them, or a role by a web identity.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/process.h"
#include "storage/s3/credential_places.h"
#include "storage/s3/profile_files.h"

namespace holdfast::storage::s3 {
namespace {

using base::Error;
using base::ErrorKind;

// The last line that a program complained with.
std::string last_line(std::string_view text) {
  constexpr std::size_t kMaxBytes = 300;
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  text.remove_prefix(text.rfind('\n') + 1);  // npos + 1 is 0
  return std::string(text.substr(0, kMaxBytes));
}

class ProfilePlace final : public CredentialPlace {
 public:
  explicit ProfilePlace(CredentialOptions options) : options_(std::move(options)) {}

  Lookup look() override {
    const Profile profile = Profile::read(options_);
    description_ = fmt::format("profile {} of {}", profile.name(), profile.places());
    if (!profile.exists()) return missing(profile);
    if (!profile.value("role_arn").empty()) return {by_role(profile), {}};
    if (!profile.value("aws_access_key_id").empty() ||
        !profile.value("aws_secret_access_key").empty()) {
      return {keys_of(profile), {}};
    }
    if (!profile.value("credential_process").empty()) return {by_program(profile), {}};
    for (const char* key : {"sso_session", "sso_start_url", "credential_source", "login_session"}) {
      if (!profile.value(key).empty()) throw unsupported(profile, key);
    }
    return {{}, fmt::format("profile {} of {} has no keys", profile.name(), profile.places())};
  }
  std::string describe() const override {
    return description_.empty() ? "the files of ~/.aws" : description_;
  }

 private:
  Lookup missing(const Profile& profile) const {
    const auto known = profile.known();
    const bool wanted = profile.is_named() || !options_.file.empty();
    if (!wanted) return {{}, fmt::format("no profile default in {}", profile.places())};
    throw Error(ErrorKind::kConfig,
                fmt::format("there is no profile {} in {}", profile.name(), profile.places()),
                known.empty() ? "" : fmt::format("known: {}", fmt::join(known, ", ")));
  }

  Error unsupported(const Profile& profile, std::string_view key) const {
    return {ErrorKind::kConfig,
            fmt::format("{}: holdfast cannot follow its {} itself", description_, key),
            fmt::format("let the AWS CLI do it: in a profile of its own write credential_process = "
                        "aws configure export-credentials --profile {} --format process",
                        profile.name())};
  }

  Credentials keys_of(const Profile& profile) const {
    const auto secret = [&](std::string_view key) {
      return crypto::SecretText(std::string(profile.value(key)));
    };
    return checked({.access_key = std::string(profile.value("aws_access_key_id")),
                    .secret_key = secret("aws_secret_access_key"),
                    .session_token = secret("aws_session_token"),
                    .expires = {}},
                   description_);
  }

  Credentials by_role(const Profile& profile) const {
    const std::string token_file(profile.value("web_identity_token_file"));
    if (token_file.empty()) {
      throw unsupported(profile,
                        profile.value("source_profile").empty() ? "role_arn" : "source_profile");
    }
    return assume_role({.role_arn = std::string(profile.value("role_arn")),
                        .token_file = token_file,
                        .session_name = std::string(profile.value("role_session_name")),
                        .region = usual_region(options_)});
  }

  Credentials by_program(const Profile& profile) const {
    const auto words = split_command(profile.value("credential_process"));
    if (!words || words->empty()) {
      throw Error(ErrorKind::kConfig,
                  fmt::format("{}: credential_process is no command", description_));
    }
    const std::string where = fmt::format("{} (credential_process)", description_);
    base::ProcessResult result = base::with_context(
        where, [&] { return base::run_process({.argv = *words, .max_output_bytes = 64 * 1024}); });
    const crypto::SecretText answer(std::move(result.out));
    if (result.timed_out) {
      throw Error(ErrorKind::kTimeout, fmt::format("{} did not end in a minute", where));
    }
    if (result.exit_status != 0) {
      throw Error(ErrorKind::kUnavailable, fmt::format("{} failed with exit status {}: {}", where,
                                                       result.exit_status, last_line(result.err)));
    }
    return parse_credentials_json(answer, "SessionToken", where);
  }

  const CredentialOptions options_;
  std::string description_;
};

}  // namespace

std::unique_ptr<CredentialPlace> profile_place(CredentialOptions options) {
  return std::make_unique<ProfilePlace>(std::move(options));
}

}  // namespace holdfast::storage::s3
