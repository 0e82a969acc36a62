// Credentials of metadata services and of STS, against servers that behave well, badly and not at
// all.
#include <thread>

#include "credentials_fixture.h"
#include "small_server.h"

namespace holdfast::storage::s3 {
namespace {

using base::ErrorKind;
using std::chrono::minutes;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string credentials_json(const std::string& key, const std::string& expiration) {
  return R"({"Code": "Success", "AccessKeyId": ")" + key +
         R"(", "SecretAccessKey": "SECRET", "Token": "TOKEN", "Expiration": ")" + expiration +
         "\"}";
}

class ServiceCredentials : public CredentialsTest {
 protected:
  // A container's service: what it answers can be changed.
  void answer(const std::string& bytes) { *answer_.lock() = bytes; }
  void give(const std::string& key, const std::string& expiration) {
    answer(http_answer(200, credentials_json(key, expiration)));
  }
  std::unique_ptr<CredentialSource> container() {
    set("AWS_CONTAINER_CREDENTIALS_FULL_URI", server_.url() + "/creds");
    return source();
  }

  base::Guarded<std::string> answer_;
  SmallServer server_{[this](const std::string&) { return *answer_.lock(); }};
};

TEST_F(ServiceCredentials, ComeFromTheContainer) {
  set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write("token", "Bearer xyz\n"));
  give("KEY", "2026-01-01T06:00:00Z");
  const auto chain = container();
  const auto found = chain->current();
  EXPECT_EQ(found->access_key, "KEY");
  EXPECT_EQ(found->session_token.view(), "TOKEN");
  EXPECT_EQ(found->expires, base::parse_time("2026-01-01T06:00:00Z", {}));
  EXPECT_EQ(chain->describe(), "the container's metadata service");
  EXPECT_THAT(server_.requests().at(0), AllOf(StartsWith("GET /creds HTTP/1.1\r\n"),
                                              HasSubstr("Authorization: Bearer xyz\r\n")));
  EXPECT_EQ(chain->current(), found);
  EXPECT_EQ(server_.count(), 1U);
}

TEST_F(ServiceCredentials, AreRenewedBeforeTheyExpire) {
  give("ONE", "2026-01-01T01:00:00Z");
  const auto chain = container();
  EXPECT_EQ(chain->current()->access_key, "ONE");
  give("TWO", "2026-01-01T02:00:00Z");
  clock_.set("2026-01-01T00:49:00Z");
  EXPECT_EQ(chain->current()->access_key, "ONE");
  clock_.set("2026-01-01T00:55:00Z");
  EXPECT_EQ(chain->current()->access_key, "TWO");
  EXPECT_EQ(server_.count(), 2U);
}

TEST_F(ServiceCredentials, ServeUntilTheirEndWhileRenewalFails) {
  give("ONE", "2026-01-01T01:00:00Z");
  const auto chain = container();
  chain->current();
  answer(http_answer(500, "no"));
  clock_.set("2026-01-01T00:55:00Z");
  EXPECT_EQ(chain->current()->access_key, "ONE");
  EXPECT_EQ(chain->current()->access_key, "ONE");
  EXPECT_EQ(server_.count(), 2U) << "the next try has to wait";
  clock_.set("2026-01-01T00:59:59Z");
  EXPECT_EQ(chain->current()->access_key, "ONE");
  EXPECT_EQ(server_.count(), 3U);
  clock_.set("2026-01-01T01:00:00Z");
  const base::Error error = failure(*chain);
  EXPECT_EQ(error.kind(), ErrorKind::kUnavailable);
  EXPECT_THAT(error.what(), HasSubstr("HTTP 500"));
  clock_.advance(minutes(1));
  give("TWO", "2026-01-01T02:00:00Z");
  EXPECT_EQ(chain->current()->access_key, "TWO");
}

TEST_F(ServiceCredentials, ThatHaveExpiredAreTheStoresToJudge) {
  give("ONE", "2025-12-31T23:00:00Z");  // or this machine's clock is wrong
  const auto chain = container();
  EXPECT_EQ(chain->current()->access_key, "ONE");
  EXPECT_EQ(chain->current()->access_key, "ONE");
  EXPECT_EQ(server_.count(), 1U);
  clock_.advance(minutes(1));
  chain->current();
  EXPECT_EQ(server_.count(), 2U);
}

TEST_F(ServiceCredentials, AreFetchedOnceForAllThreads) {
  give("ONE", "2026-01-01T01:00:00Z");
  const auto chain = container();
  std::vector<std::jthread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] { good += chain->current()->access_key == "ONE" ? 1 : 0; });
  }
  threads.clear();
  EXPECT_EQ(good, 16);
  EXPECT_EQ(server_.count(), 1U);
}

TEST_F(ServiceCredentials, BearGarbage) {
  const std::string answers[] = {
      "",
      "garbage\r\n\r\n",
      http_answer(200, ""),
      http_answer(200, "[]"),
      http_answer(200, "{\"AccessKeyId\": 7}"),
      http_answer(200, "{\"AccessKeyId\": \"K\"}"),
      http_answer(200, credentials_json("K\\r\\nX: y", "2026-01-01T06:00:00Z")),
      http_answer(200, credentials_json("K", "soon")),
      http_answer(200, credentials_json(std::string(1000, 'K'), "2026-01-01T06:00:00Z")),
      http_answer(200, std::string(100, '[')),
      http_answer(200, std::string(1 << 20, ' ')),
      http_answer(302, "elsewhere"),
      "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999\r\n\r\n" + std::string(1 << 18, 'x'),
      "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
  };
  for (const std::string& bytes : answers) {
    answer(bytes);
    const base::Error error = failure(*container());
    EXPECT_EQ(error.kind(), ErrorKind::kUnavailable) << bytes.substr(0, 80);
    EXPECT_THAT(error.what(), AllOf(HasSubstr(server_.url()), Not(HasSubstr("SECRET"))));
  }
}

TEST_F(ServiceCredentials, SendNoTokenToStrangers) {
  for (const std::string url : {"http://example.com/x", "http://127.0.0.1@example.com/",
                                "http://localhost.example.com/", "ftp://localhost/"}) {
    set("AWS_CONTAINER_CREDENTIALS_FULL_URI", url);
    EXPECT_EQ(failure().kind(), ErrorKind::kConfig) << url;
  }
}

class InstanceCredentials : public CredentialsTest {
 protected:
  InstanceCredentials() {
    set("AWS_EC2_METADATA_DISABLED", "false");
    set("AWS_EC2_METADATA_SERVICE_ENDPOINT", server_.url());
    set("http_proxy", "http://127.0.0.1:1");  // must not be used
  }
  ~InstanceCredentials() override { ::unsetenv("http_proxy"); }

  std::string serve(const std::string& request) {
    const std::string kRoles = "GET /latest/meta-data/iam/security-credentials/";
    if (request.starts_with("PUT /latest/api/token ")) {
      if (*refuse_token_.lock()) return http_answer(403, "");
      const bool right = request.find("X-aws-ec2-metadata-token-ttl-seconds: ") != request.npos;
      return http_answer(right ? 200 : 400, "T0KEN");
    }
    if (request.find("X-aws-ec2-metadata-token: T0KEN\r\n") == request.npos) {
      return http_answer(401, "");
    }
    if (request.starts_with(kRoles + " ")) {
      const std::string role = *role_.lock();
      return role.empty() ? http_answer(404, "") : http_answer(200, role);
    }
    if (request.starts_with(kRoles + "backups ")) {
      return http_answer(200, credentials_json("INSTANCE", "2026-01-01T06:00:00Z"));
    }
    return http_answer(404, "");
  }

  base::Guarded<std::string> role_{"backups"};
  base::Guarded<bool> refuse_token_{false};
  SmallServer server_{[this](const std::string& request) { return serve(request); }};
};

TEST_F(InstanceCredentials, ComeByATokenAndTheRole) {
  const auto chain = source();
  EXPECT_EQ(chain->current()->access_key, "INSTANCE");
  EXPECT_EQ(chain->describe(), "the instance's metadata service");
  EXPECT_EQ(server_.count(), 3U);
}

TEST_F(InstanceCredentials, AreNotThereWithoutARole) {
  *role_.lock() = "";
  const base::Error error = failure();
  EXPECT_EQ(error.kind(), ErrorKind::kConfig);
  EXPECT_THAT(error.what(), HasSubstr("the instance has no role"));
  *role_.lock() = "../../user-data?";
  EXPECT_EQ(failure().kind(), ErrorKind::kUnavailable);
  *refuse_token_.lock() = true;
  EXPECT_THAT(failure().what(), HasSubstr("does not answer"));
}

TEST_F(InstanceCredentials, DoNotDelayAMachineThatIsNone) {
  set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1");
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(failure().kind(), ErrorKind::kConfig);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(3));
  set("AWS_EC2_METADATA_DISABLED", "true");
  EXPECT_EQ(failure().kind(), ErrorKind::kConfig);
  EXPECT_EQ(server_.count(), 0U);
}

constexpr const char* kAssumed =
    R"(<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult><Credentials><SessionToken>T&amp;K</SessionToken>
  <SecretAccessKey>SECRET</SecretAccessKey><Expiration>2026-01-01T01:00:00Z</Expiration>
  <AccessKeyId>ASSUMED</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>)";

class WebIdentityCredentials : public ServiceCredentials {
 protected:
  WebIdentityCredentials() {
    set("AWS_ENDPOINT_URL_STS", server_.url());
    set("AWS_WEB_IDENTITY_TOKEN_FILE", write("token", "ey.J+w/t\n"));
    set("AWS_ROLE_ARN", "arn:aws:iam::1:role/backup");
  }
};

TEST_F(WebIdentityCredentials, ComeFromTheTokenService) {
  answer(http_answer(200, kAssumed));
  const auto chain = source();
  const auto found = chain->current();
  EXPECT_EQ(found->access_key, "ASSUMED");
  EXPECT_EQ(found->session_token.view(), "T&K");
  const std::string request = server_.requests().at(0);
  EXPECT_THAT(request, AllOf(StartsWith("POST / HTTP/1.1\r\n"),
                             HasSubstr("\r\n\r\nAction=AssumeRoleWithWebIdentity&"),
                             HasSubstr("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fbackup&"),
                             HasSubstr("WebIdentityToken=ey.J%2Bw%2Ft")));
  clock_.set("2026-01-01T00:51:00Z");
  write("token", "newer");
  chain->current();
  EXPECT_THAT(server_.requests().at(1), HasSubstr("WebIdentityToken=newer"));
}

TEST_F(WebIdentityCredentials, MayComeByAProfile) {
  ::unsetenv("AWS_WEB_IDENTITY_TOKEN_FILE");
  write(".aws/config",
        "[profile pod]\nrole_arn=arn:x\nrole_session_name=me\n"
        "web_identity_token_file=" +
            directory_.path().string() + "/token\n");
  answer(http_answer(200, kAssumed));
  EXPECT_EQ(source({.profile = "pod"})->current()->access_key, "ASSUMED");
  EXPECT_THAT(server_.requests().at(0), HasSubstr("RoleSessionName=me&"));
}

TEST_F(WebIdentityCredentials, SayWhyTheyAreRefused) {
  answer(http_answer(403,
                     "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized"
                     "</Message></Error></ErrorResponse>"));
  const base::Error error = failure();
  EXPECT_EQ(error.kind(), ErrorKind::kConfig);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("AccessDenied: Not authorized"), HasSubstr("arn:aws"),
                                  Not(HasSubstr("ey.J"))));
  answer(http_answer(503, ""));
  EXPECT_EQ(failure().kind(), ErrorKind::kUnavailable);
  for (const std::string body : {"", "<", "<a/>", "{}"}) {
    answer(http_answer(200, body));
    EXPECT_EQ(failure().kind(), ErrorKind::kUnavailable);
  }
  write("token", "\n");
  EXPECT_THAT(failure().what(), HasSubstr("is empty"));
}

}  // namespace
}  // namespace holdfast::storage::s3
