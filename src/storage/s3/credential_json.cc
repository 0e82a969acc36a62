#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "storage/s3/credential_places.h"

namespace holdfast::storage::s3 {
namespace {

using nlohmann::json;

base::Error wrong(const std::string& where, std::string_view problem) {
  return {base::ErrorKind::kConfig, fmt::format("{}: {}", where, problem)};
}

// Takes the text out of the document, so that it is wiped with its owner. Empty: not there.
std::string take(json& document, const char* name, const std::string& where) {
  const auto found = document.find(name);
  if (found == document.end() || found->is_null()) return {};
  if (!found->is_string()) throw wrong(where, fmt::format("{} is no text", name));
  return std::move(found->get_ref<std::string&>());
}

}  // namespace

Credentials parse_credentials_json(const crypto::SecretText& text, const char* token_name,
                                   const std::string& where) {
  json document = json::parse(text.view(), nullptr, false);
  if (!document.is_object()) throw wrong(where, "the answer is no JSON object with credentials");
  Credentials credentials{
      .access_key = take(document, "AccessKeyId", where),
      .secret_key = crypto::SecretText(take(document, "SecretAccessKey", where)),
      .session_token = crypto::SecretText(take(document, token_name, where)),
      .expires = {}};
  const std::string expiration = take(document, "Expiration", where);
  if (!expiration.empty()) {
    credentials.expires = base::parse_time(expiration, base::Time{});
    if (!credentials.expires) throw wrong(where, "Expiration is no time");
  }
  return checked(std::move(credentials), where);
}

}  // namespace holdfast::storage::s3
