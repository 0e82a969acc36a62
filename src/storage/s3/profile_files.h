// ~/.aws/credentials and ~/.aws/config: sections with "key = value" lines. Internal to the S3
// driver.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/secret.h"
#include "storage/s3/credentials.h"

namespace holdfast::storage::s3 {

// One file's text, searched anew for each question: files are small and hold secrets, so nothing
// is copied out of them.
class ProfileFile {
 public:
  ProfileFile() = default;  // one that is not there
  // Throws where the file is there and cannot be read.
  static ProfileFile read(const std::filesystem::path& path);
  static ProfileFile parse(crypto::SecretText text);

  bool exists() const { return exists_; }
  // In either file a profile may stand as [NAME] or [profile NAME].
  bool has(std::string_view profile) const;
  // Valid as long as the file; empty where there is none. The last of several counts.
  std::string_view value(std::string_view profile, std::string_view key) const;
  std::vector<std::string> profiles() const;

 private:
  template <typename Each>
  void for_each_line(Each&& each) const;
  crypto::SecretText text_;
  bool exists_ = false;
};

// The two files together, as `options` and the environment choose them. The credentials file comes
// first.
class Profile {
 public:
  static Profile read(const CredentialOptions& options);

  const std::string& name() const { return name_; }
  bool is_named() const { return named_; }  // by somebody, not by default
  bool exists() const { return credentials_.has(name_) || config_.has(name_); }
  std::string_view value(std::string_view key) const;
  // "/root/.aws/credentials or /root/.aws/config".
  const std::string& places() const { return places_; }
  std::vector<std::string> known() const;

 private:
  std::string name_;
  bool named_ = false;
  std::string places_;
  ProfileFile credentials_;
  ProfileFile config_;
};

// Words as a shell would split them: by spaces, with quotes and backslashes. Nullopt where a quote
// is not closed.
std::optional<std::vector<std::string>> split_command(std::string_view command);

}  // namespace holdfast::storage::s3
