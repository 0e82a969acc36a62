#include "storage/s3/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <thread>

#include "crypto/hash.h"

namespace holdfast::storage::s3 {
namespace {

using base::Error;
using base::ErrorKind;
using std::chrono::steady_clock;

// A store that has never answered is more likely misnamed than restarting.
constexpr std::chrono::milliseconds kPatienceAtFirst{15'000};
constexpr int kFewestAttempts = 6;
// What arrives broken is sent again so many times: then it is not the network.
constexpr int kMostBrokenTransfers = 4;
// S3 refuses requests that are signed 15 minutes beside its own time.
constexpr base::Duration kNotableSkew = std::chrono::minutes(5);

constexpr std::array kBrokenTransfer = {
    std::string_view("BadDigest"), std::string_view("XAmzContentSHA256Mismatch"),
    std::string_view("XAmzContentChecksumMismatch"), std::string_view("IncompleteBody")};
constexpr std::array kForTheMoment = {
    std::string_view("RequestTimeout"),   std::string_view("SlowDown"),
    std::string_view("InternalError"),    std::string_view("ServiceUnavailable"),
    std::string_view("OperationAborted"), std::string_view("ConditionalRequestConflict")};
constexpr std::array kOldCredentials = {
    std::string_view("ExpiredToken"), std::string_view("TokenRefreshRequired"),
    std::string_view("InvalidToken"), std::string_view("InvalidAccessKeyId")};
constexpr std::array kNoRoom = {std::string_view("QuotaExceeded"),
                                std::string_view("InsufficientStorage"),
                                std::string_view("XMinioStorageFull")};

template <std::size_t N>
bool is_one_of(const std::array<std::string_view, N>& codes, std::string_view code) {
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

HttpOptions http_options(const Options& options) {
  return {.ca_file = options.ca_file,
          .proxy = options.proxy,
          .connect_timeout = options.connect_timeout,
          .stall_timeout = options.stall_timeout,
          .rate_bytes = options.rate_bytes,
          .requests_at_once = options.requests_at_once};
}

std::string said(const Answer& answer) {
  std::string text = std::to_string(answer.status());
  if (!answer.error.code.empty()) text += " " + answer.error.code;
  if (!answer.error.message.empty()) text += ": " + answer.error.message;
  return text;
}

}  // namespace

Client::Client(const Options& options, std::unique_ptr<CredentialSource> credentials,
               const base::Clock& clock, crypto::Random& random)
    : options_(options),
      address_(address_of(options)),
      credentials_(std::move(credentials)),
      clock_(clock),
      http_(http_options(options)),
      pace_(random) {}

HttpAnswer Client::attempt(const Request& request, const std::string& body_sha256,
                           const Credentials& credentials) {
  const std::string path = address_.path_of(request.key);
  const std::string query = canonical_query(request.query);
  base::Time now = clock_.now();
  if (correct_skew_) now += clock_skew();
  Headers headers = request.headers;
  sign({request.method, path, query, address_.host, body_sha256}, credentials, address_.region, now,
       headers);
  std::string url = address_.scheme + "://" + address_.host + path;
  if (!query.empty()) url += '?' + query;
  return http_.perform({.method = request.method,
                        .url = std::move(url),
                        .headers = std::move(headers),
                        .body = request.body,
                        .into = request.into,
                        .max_body_bytes = request.max_body_bytes});
}

void Client::wait(Pace::Milliseconds time) const {
  constexpr Pace::Milliseconds kSlice{100};
  for (; time.count() > 0 && !closing_; time -= std::min(time, kSlice)) {
    std::this_thread::sleep_for(std::min(time, kSlice));
  }
}

void Client::note_clock(const HttpAnswer& answer) {
  answered_ = true;
  if (const auto theirs = parse_http_date(answer.header("date"))) {
    skew_ = std::chrono::duration_cast<base::Duration>(*theirs - clock_.now()).count();
  }
}

bool Client::may_help_to_repeat(const Answer& answer, const Credentials& credentials,
                                Mended& mended) {
  const std::string& code = answer.error.code;
  const int status = answer.status();
  if (status == 503 || status == 429 || code == "SlowDown") pace_.slow_down();
  if ((status >= 500 && status != 501 && status != 507) || status == 429 || status == 408) {
    return true;
  }
  if (is_one_of(kForTheMoment, code)) return true;
  if (is_one_of(kBrokenTransfer, code)) return mended.attempts < kMostBrokenTransfers;
  const bool without_code = code.empty() && (status == 403 || status == 400);  // of a HEAD
  const bool skewed = std::chrono::abs(clock_skew()) > kNotableSkew;
  if (code == "RequestTimeTooSkewed" || (without_code && skewed)) {
    correct_skew_ = true;
    return !std::exchange(mended.clock, true);
  }
  if (is_one_of(kOldCredentials, code) || without_code) {
    return !std::exchange(mended.credentials, true) && credentials_->refused(credentials);
  }
  return false;
}

Answer Client::send(const Request& request, std::initializer_list<int> accepted) {
  return send(request, [accepted](int status, const ErrorAnswer&) {
    return std::find(accepted.begin(), accepted.end(), status) != accepted.end();
  });
}

// One attempt, and what came of it: an answer that stands, or a failure that may pass.
struct Client::Outcome {
  bool stands = false;
  std::optional<Error> failure = {};
  Pace::Milliseconds wait{0};
};

Client::Outcome Client::try_once(const Request& request, const std::string& body_sha256,
                                 const Accepts& accepts, Mended& mended, Answer& answer) {
  ++mended.attempts;
  wait(pace_.before_request());
  std::shared_ptr<const Credentials> credentials;
  try {
    credentials = credentials_->current();
    answer.http = attempt(request, body_sha256, *credentials);
  } catch (const Error& error) {
    if (!base::info(error.kind()).retry_may_help) throw;
    return {.failure = error};
  }
  note_clock(answer.http);
  if (answer.http.is_success()) {
    pace_.succeeded();
    return {.stands = true};
  }
  answer.error = read_error(answer.http.body);
  if (accepts(answer.status(), answer.error)) return {.stands = true};
  if (!may_help_to_repeat(answer, *credentials, mended)) throw error_of(request, answer);
  return {.failure = error_of(request, answer),
          .wait = Pace::asked_for(answer.http.header("retry-after"))};
}

Answer Client::send(const Request& request, const Accepts& accepts) {
  const std::string body_sha256 = request.body_sha256.empty()
                                      ? base::to_hex(crypto::sha256(request.body))
                                      : request.body_sha256;
  std::optional<steady_clock::time_point> give_up;
  Answer answer;
  Mended mended;
  for (;;) {
    Outcome outcome = try_once(request, body_sha256, accepts, mended, answer);
    if (outcome.stands) return answer;
    answer.retried = true;
    const auto now = steady_clock::now();
    if (!give_up) {
      give_up =
          now + (answered_ ? options_.retry_for : std::min(options_.retry_for, kPatienceAtFirst));
    }
    const auto pause = std::max(outcome.wait, pace_.before_repetition(mended.attempts));
    if (closing_ || (now + pause > *give_up && mended.attempts >= kFewestAttempts)) {
      outcome.failure->add_context(fmt::format("given up after {} attempts", mended.attempts));
      throw *outcome.failure;
    }
    wait(pause);
  }
}

Error Client::access_error(const ErrorAnswer& error, const std::string& what) const {
  std::string hint = fmt::format(
      "see what the policy of these credentials allows ({}); "
      "docs/s3.md has the policies that holdfast needs",
      credentials_->describe());
  if (error.code == "SignatureDoesNotMatch") {
    hint = fmt::format(
        "the secret key does not belong to the access key ({}), or a proxy alters "
        "requests",
        credentials_->describe());
  } else if (is_one_of(kOldCredentials, error.code)) {
    hint = fmt::format("the credentials are unknown there or have expired ({})",
                       credentials_->describe());
  } else if (error.code == "RequestTimeTooSkewed") {
    hint = fmt::format("this machine's clock is {} {} the store's: set it right, by NTP say",
                       base::format_duration(std::chrono::abs(clock_skew())),
                       clock_skew() < base::Duration(0) ? "ahead of" : "behind");
  }
  return {ErrorKind::kPermission, what, std::move(hint)};
}

Error Client::error_of(const Request& request, const Answer& answer) const {
  const std::string& code = answer.error.code;
  const int status = answer.status();
  const std::string what =
      fmt::format("{} s3://{}{}{}: {}", name_of(request.method), options_.bucket,
                  request.key.empty() ? "" : "/", request.key, said(answer));
  std::string region = answer.error.region;
  if (region.empty()) region = answer.http.header("x-amz-bucket-region");
  const bool elsewhere = status == 301 || status == 307 || code == "AuthorizationHeaderMalformed" ||
                         code == "PermanentRedirect";
  if (elsewhere && region != address_.region) {
    return {ErrorKind::kFailed, what,
            region.empty()
                ? "the bucket is in another region, or at another endpoint"
                : fmt::format("the bucket is in the region {}: set region: {}", region, region)};
  }
  if (code == "NoSuchBucket") {
    return {ErrorKind::kFailed, what,
            fmt::format("create the bucket {} at {} first, or correct its name", options_.bucket,
                        address_.host)};
  }
  if (code == "InvalidObjectState") {
    return {ErrorKind::kRefused, what,
            "the object is in cold storage and must be thawed before it can be read"};
  }
  if (is_one_of(kNoRoom, code) || status == 507) {
    return {ErrorKind::kNoSpace, what, "the store has no room left for this bucket"};
  }
  if (status == 401 || status == 403) return access_error(answer.error, what);
  if (status >= 500 || status == 429) return {ErrorKind::kUnavailable, what};
  return {ErrorKind::kFailed, what};
}

}  // namespace holdfast::storage::s3
