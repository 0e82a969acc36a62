// A role by a token that a file holds: what Kubernetes and CI systems give to their pods and jobs.
#include <fmt/format.h>

#include <pugixml.hpp>

#include "base/error.h"
#include "base/file.h"
#include "storage/s3/credential_places.h"
#include "storage/s3/signature.h"
#include "storage/s3/small_request.h"

namespace holdfast::storage::s3 {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::size_t kMaxTokenBytes = std::size_t{32} * 1024;

std::string endpoint(const std::string& region) {
  std::string given = environment("AWS_ENDPOINT_URL_STS");
  if (!given.empty()) return given;
  if (region.empty()) return "https://sts.amazonaws.com";
  return fmt::format("https://sts.{}.amazonaws.com{}", region,
                     region.starts_with("cn-") ? ".cn" : "");
}

void append_field(std::string& form, std::string_view name, std::string_view value) {
  form += fmt::format("{}{}=", form.empty() ? "" : "&", name);
  crypto::SecretText encoded(url_encoded(value, false));
  form += encoded.view();
}

crypto::SecretText request_body(const WebIdentity& identity) {
  crypto::SecretText token(base::read_text_file(identity.token_file, kMaxTokenBytes));
  std::string_view text = token.view();
  while (text.ends_with('\n') || text.ends_with('\r') || text.ends_with(' ')) text.remove_suffix(1);
  if (text.empty()) {
    throw Error(ErrorKind::kConfig,
                fmt::format("the web identity's token file {} is empty", identity.token_file));
  }
  std::string form;
  form.reserve(3 * kMaxTokenBytes + 8192);  // so that growing leaves no copies behind
  append_field(form, "Action", "AssumeRoleWithWebIdentity");
  append_field(form, "Version", "2011-06-15");
  append_field(form, "RoleArn", identity.role_arn);
  append_field(form, "RoleSessionName",
               identity.session_name.empty() ? "holdfast" : identity.session_name);
  append_field(form, "WebIdentityToken", text);
  return crypto::SecretText(std::move(form));
}

// The document and its texts live in `buffer`, which is wiped in the end.
class XmlAnswer {
 public:
  explicit XmlAnswer(std::string_view text) : buffer_(text.begin(), text.end()) {
    good_ = document_.load_buffer_inplace(buffer_.data(), buffer_.size());
  }
  ~XmlAnswer() { crypto::wipe(buffer_); }
  XmlAnswer(const XmlAnswer&) = delete;
  XmlAnswer& operator=(const XmlAnswer&) = delete;

  bool good() const { return good_; }
  pugi::xml_node root() const { return document_.document_element(); }

 private:
  base::Bytes buffer_;
  pugi::xml_document document_;
  bool good_ = false;
};

[[noreturn]] void refuse(const SmallAnswer& answer, const WebIdentity& identity,
                         const std::string& where) {
  constexpr std::size_t kMaxWordsBytes = 300;
  const XmlAnswer document(answer.body.view());
  const pugi::xml_node error = document.root().child("Error");
  const std::string code = error.child_value("Code");
  std::string words = error.child_value("Message");
  if (words.size() > kMaxWordsBytes) words.resize(kMaxWordsBytes);
  const bool ours = answer.status / 100 == 4 && answer.status != 429 && code != "Throttling" &&
                    code != "IDPCommunicationError";
  throw Error(
      ours ? ErrorKind::kConfig : ErrorKind::kUnavailable,
      fmt::format("{} does not give the role {}: HTTP {} {}{}{}", where, identity.role_arn,
                  answer.status, code, words.empty() ? "" : ": ", words),
      ours ? "see whether the role trusts this identity, and whether its token is current" : "");
}

Credentials parse_answer(const SmallAnswer& answer, const std::string& where) {
  const XmlAnswer document(answer.body.view());
  const pugi::xml_node found =
      document.root().child("AssumeRoleWithWebIdentityResult").child("Credentials");
  if (!document.good() || !found) {
    throw Error(ErrorKind::kUnavailable, fmt::format("{}: the answer holds no credentials", where));
  }
  const auto expires = base::parse_time(found.child_value("Expiration"), base::Time{});
  if (!expires) {
    throw Error(ErrorKind::kUnavailable, fmt::format("{}: Expiration is no time", where));
  }
  return checked(
      {.access_key = found.child_value("AccessKeyId"),
       .secret_key = crypto::SecretText(std::string(found.child_value("SecretAccessKey"))),
       .session_token = crypto::SecretText(std::string(found.child_value("SessionToken"))),
       .expires = expires},
      where);
}

class WebIdentityPlace final : public CredentialPlace {
 public:
  Lookup look() override {
    const std::string token_file = environment("AWS_WEB_IDENTITY_TOKEN_FILE");
    if (token_file.empty()) return {{}, "AWS_WEB_IDENTITY_TOKEN_FILE is not set"};
    const std::string role = environment("AWS_ROLE_ARN");
    if (role.empty()) {
      throw Error(ErrorKind::kConfig,
                  "AWS_WEB_IDENTITY_TOKEN_FILE is set in the environment and AWS_ROLE_ARN is not");
    }
    return {assume_role({.role_arn = role,
                         .token_file = token_file,
                         .session_name = environment("AWS_ROLE_SESSION_NAME"),
                         .region = usual_region({})}),
            {}};
  }
  std::string describe() const override { return "the web identity of the environment"; }
};

}  // namespace

Credentials assume_role(const WebIdentity& identity) {
  const std::string url = endpoint(identity.region);
  const std::string where = fmt::format("the token service {}", url);
  const SmallAnswer answer = send({.method = "POST",
                                   .url = url,
                                   .body = request_body(identity),
                                   .ca_file = environment("AWS_CA_BUNDLE")});
  if (answer.status != 200) refuse(answer, identity, where);
  return parse_answer(answer, where);
}

std::unique_ptr<CredentialPlace> web_identity_place() {
  return std::make_unique<WebIdentityPlace>();
}

}  // namespace holdfast::storage::s3
