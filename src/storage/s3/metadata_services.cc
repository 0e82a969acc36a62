// Credentials that the machine itself has: from the metadata service of a container (ECS, EKS) or
// of an instance (EC2). Their addresses are link-local or local: no proxy stands before them.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/file.h"
#include "storage/s3/credential_places.h"
#include "storage/s3/small_request.h"

namespace holdfast::storage::s3 {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::chrono::milliseconds kConnectTimeout{1'000};
constexpr std::chrono::milliseconds kTimeout{5'000};

Error unexpected(const SmallAnswer& answer, const std::string& where) {
  return {ErrorKind::kUnavailable, fmt::format("{} answers with HTTP {}", where, answer.status)};
}

// What a service sends is no configuration: garbage may be gone at the next request.
Credentials parse_service_answer(const SmallAnswer& answer, const std::string& where) {
  try {
    return parse_credentials_json(answer.body, "Token", where);
  } catch (const Error& error) {
    throw Error(ErrorKind::kUnavailable, error.what());
  }
}

std::string_view first_line(std::string_view text) {
  return text.substr(0, text.find_first_of("\r\n"));
}

// The token goes only to places that belong to the machine: over http anybody could read it.
bool is_trusted(std::string_view url) {
  if (url.starts_with("https://")) return true;
  if (!url.starts_with("http://")) return false;
  url.remove_prefix(std::string_view("http://").size());
  std::string_view host = url.substr(0, url.find_first_of("/?#"));
  if (host.find('@') != std::string_view::npos) return false;
  if (host.starts_with('[')) {
    host = host.substr(0, host.find(']') + 1);
  } else {
    host = host.substr(0, host.find(':'));
  }
  constexpr std::array<std::string_view, 6> kHosts = {
      "localhost", "127.0.0.1", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"};
  return std::find(kHosts.begin(), kHosts.end(), host) != kHosts.end();
}

class ContainerPlace final : public CredentialPlace {
 public:
  Lookup look() override {
    const std::string url = address();
    if (url.empty()) return {{}, "no container says where its credentials are"};
    SmallRequest request{.url = url,
                         .secret_header = authorization(),
                         .direct = true,
                         .connect_timeout = kConnectTimeout,
                         .timeout = kTimeout};
    const std::string where = fmt::format("{} at {}", describe(), url);
    const SmallAnswer answer = send(request);
    if (answer.status != 200) throw unexpected(answer, where);
    return {parse_service_answer(answer, where), {}};
  }
  std::string describe() const override { return "the container's metadata service"; }

 private:
  static std::string address() {
    const std::string relative = environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    if (!relative.empty()) {
      return fmt::format("http://169.254.170.2{}{}", relative.starts_with('/') ? "" : "/",
                         relative);
    }
    std::string full = environment("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (full.empty() || is_trusted(full)) return full;
    throw Error(ErrorKind::kConfig,
                "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or an address of this machine");
  }

  static crypto::SecretText authorization() {
    constexpr std::size_t kMaxTokenBytes = std::size_t{32} * 1024;
    const std::string file = environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const crypto::SecretText token(file.empty() ? environment("AWS_CONTAINER_AUTHORIZATION_TOKEN")
                                                : base::read_text_file(file, kMaxTokenBytes));
    const std::string_view line = first_line(token.view());
    if (line.empty()) return {};
    return crypto::SecretText(fmt::format("Authorization: {}", line));
  }
};

class InstancePlace final : public CredentialPlace {
 public:
  Lookup look() override {
    if (environment("AWS_EC2_METADATA_DISABLED") == "true") {
      return {{}, "AWS_EC2_METADATA_DISABLED is true"};
    }
    std::optional<crypto::SecretText> token = fetch_token();
    if (!token) return {{}, fmt::format("{} does not answer", where())};
    constexpr std::string_view kRoles = "/latest/meta-data/iam/security-credentials/";
    const SmallAnswer roles = ask(std::string(kRoles), *token);
    const std::string role(first_line(roles.body.view()));
    if (roles.status == 404 || role.empty()) return {{}, "the instance has no role"};
    if (roles.status != 200) throw unexpected(roles, where());
    const bool plain = role.size() <= 128 && role.find_first_of("/?#% ") == std::string::npos;
    if (!plain)
      throw Error(ErrorKind::kUnavailable,
                  fmt::format("{} names no role that could be one", where()));
    const SmallAnswer answer = ask(std::string(kRoles) + role, *token);
    if (answer.status != 200) throw unexpected(answer, where());
    Lookup found{parse_service_answer(answer, where()), {}};
    was_here_ = true;
    return found;
  }
  std::string describe() const override { return "the instance's metadata service"; }

 private:
  static std::string endpoint() {
    std::string given = environment("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    while (given.ends_with('/')) given.pop_back();
    if (!given.empty()) return given;
    return environment("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE") == "IPv6"
               ? "http://[fd00:ec2::254]"
               : "http://169.254.169.254";
  }
  std::string where() const { return fmt::format("{} at {}", describe(), endpoint()); }

  // Nullopt: there is no such service here, or it is switched off.
  std::optional<crypto::SecretText> fetch_token() const {
    SmallAnswer answer;
    try {
      answer = send({.method = "PUT",
                     .url = fmt::format("{}/latest/api/token", endpoint()),
                     .headers = {"X-aws-ec2-metadata-token-ttl-seconds: 21600"},
                     .direct = true,
                     .connect_timeout = kConnectTimeout,
                     .timeout = kTimeout});
    } catch (const Error&) {
      if (was_here_) throw;
      return std::nullopt;
    }
    if (answer.status / 100 == 5) throw unexpected(answer, where());
    const std::string_view token = first_line(answer.body.view());
    if (answer.status != 200 || token.empty()) return std::nullopt;
    return crypto::SecretText(fmt::format("X-aws-ec2-metadata-token: {}", token));
  }

  static SmallAnswer ask(const std::string& path, const crypto::SecretText& token) {
    return send({.url = fmt::format("{}{}", endpoint(), path),
                 .secret_header = crypto::SecretText(std::string(token.view())),
                 .direct = true,
                 .connect_timeout = kConnectTimeout,
                 .timeout = kTimeout});
  }

  bool was_here_ = false;
};

}  // namespace

std::unique_ptr<CredentialPlace> container_place() { return std::make_unique<ContainerPlace>(); }
std::unique_ptr<CredentialPlace> instance_place() { return std::make_unique<InstancePlace>(); }

}  // namespace holdfast::storage::s3
