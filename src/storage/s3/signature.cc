#include "storage/s3/signature.h"

#include <fmt/format.h>

#include <algorithm>

#include "crypto/hash.h"

namespace holdfast::storage::s3 {
namespace {

bool is_unreserved(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

bool is_signed(std::string_view header) {
  return header == "host" || header == "content-md5" || header.starts_with("x-amz-");
}

crypto::Digest derive(base::ByteView key, std::string_view text) {
  return crypto::hmac(key, {base::as_bytes(text)});
}

crypto::Digest signing_key(const Credentials& credentials, std::string_view date,
                           std::string_view region) {
  std::string first = "AWS4";
  first += credentials.secret_key.view();
  crypto::Digest key = derive(base::as_bytes(first), date);
  crypto::wipe({reinterpret_cast<std::uint8_t*>(first.data()), first.size()});
  for (const std::string_view text :
       {region, std::string_view("s3"), std::string_view("aws4_request")}) {
    key = derive(key, text);
  }
  return key;
}

}  // namespace

std::string url_encoded(std::string_view text, bool keep_slashes) {
  std::string out;
  for (const char c : text) {
    if (is_unreserved(c) || (c == '/' && keep_slashes)) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string url_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::uint8_t byte = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        base::from_hex(text.substr(i + 1, 2), {&byte, 1})) {
      out += static_cast<char>(byte);
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

std::string canonical_query(Query query) {
  for (auto& [name, value] : query) {
    name = url_encoded(name, false);
    value = url_encoded(value, false);
  }
  std::sort(query.begin(), query.end());
  std::string out;
  for (const auto& [name, value] : query) {
    if (!out.empty()) out += '&';
    out += name + '=' + value;
  }
  return out;
}

void sign(const ToSign& request, const Credentials& credentials, std::string_view region,
          base::Time now, Headers& headers) {
  const std::string moment = base::format_compact_time(now);
  const std::string date = moment.substr(0, 8);
  headers.emplace_back("host", request.host);
  headers.emplace_back("x-amz-date", moment);
  headers.emplace_back("x-amz-content-sha256", request.payload_sha256);
  if (!credentials.session_token.empty()) {
    headers.emplace_back("x-amz-security-token", std::string(credentials.session_token.view()));
  }
  std::sort(headers.begin(), headers.end());

  std::string lines;
  std::string names;
  for (const auto& [name, value] : headers) {
    if (!is_signed(name)) continue;
    lines += name + ':' + value + '\n';
    if (!names.empty()) names += ';';
    names += name;
  }
  const std::string canonical =
      fmt::format("{}\n{}\n{}\n{}\n{}\n{}", name_of(request.method), request.path, request.query,
                  lines, names, request.payload_sha256);
  const std::string scope = fmt::format("{}/{}/s3/aws4_request", date, region);
  const std::string to_sign = fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", moment, scope,
                                          base::to_hex(crypto::sha256(base::as_bytes(canonical))));
  crypto::Digest key = signing_key(credentials, date, region);
  const crypto::Digest signature = derive(key, to_sign);
  crypto::wipe(key);
  headers.emplace_back(
      "authorization",
      fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}",
                  credentials.access_key, scope, names, base::to_hex(signature)));
}

}  // namespace holdfast::storage::s3
