#include "storage/s3/abilities.h"

#include <algorithm>

namespace holdfast::storage::s3 {
namespace {

constexpr std::string_view kNoteHeader = "x-amz-meta-holdfast-store";
constexpr std::string_view kProbe = "holdfast tries here whether this store overwrites\n";

// Codes of stores that do not know a header or a way to use it.
bool is_not_implemented(int status, const ErrorAnswer& error) {
  return status == 501 || status == 405 || error.code == "NotImplemented";
}

bool blames_checksum(int status, const ErrorAnswer& error) {
  if (is_not_implemented(status, error)) return true;
  if (status != 400) return false;
  std::string said = error.code + " " + error.message;
  std::transform(said.begin(), said.end(), said.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  // A digest that does not fit is damage on the way, not a header that is unknown.
  if (error.code == "BadDigest" || error.code == "XAmzContentSHA256Mismatch" ||
      error.code == "XAmzContentChecksumMismatch") {
    return false;
  }
  return said.find("checksum") != std::string::npos || said.find("header") != std::string::npos ||
         error.code == "InvalidRequest" || error.code == "InvalidArgument";
}

}  // namespace

Abilities::Abilities(Client& client, std::string probe_key)
    : client_(client), probe_key_(std::move(probe_key)) {}

std::string Abilities::note() const {
  return std::string("if-none-match ") + (checksum_ == ChecksumKind::kSha256 ? "sha256 " : "md5 ") +
         client_.host();
}

void Abilities::describe(Headers& headers) const {
  if (conditional_ == Conditional::kHonoured) headers.emplace_back(kNoteHeader, note());
}

// Another store's note, moved along with the objects, says nothing here: it has another host.
void Abilities::learn(const HttpAnswer& answer) {
  if (!answer.header("x-amz-version-id").empty()) keeps_versions_ = true;
  if (conditional_ != Conditional::kUnknown) return;
  const std::string_view noted = answer.header(kNoteHeader);
  for (const ChecksumKind kind : {ChecksumKind::kSha256, ChecksumKind::kMd5}) {
    if (noted != std::string("if-none-match ") +
                     (kind == ChecksumKind::kSha256 ? "sha256 " : "md5 ") + client_.host()) {
      continue;
    }
    checksum_ = kind;
    conditional_ = Conditional::kHonoured;
  }
}

Conditional Abilities::conditional() {
  if (conditional_ != Conditional::kUnknown) return conditional_;
  const auto one_at_a_time = probing_.lock();
  if (conditional_ == Conditional::kUnknown) conditional_ = probe();
  return conditional_;
}

bool Abilities::one_of_many_wins() {
  return conditional() == Conditional::kHonoured &&
         (!keeps_versions_ || client_.host().find(".amazonaws.com") != std::string::npos);
}

// The first PUT may create the object, so that only a second one shows something.
Conditional Abilities::probe() {
  const base::ByteView content = base::as_bytes(kProbe);
  const Checksum checksum = checksum_of(content);
  for (int i = 0; i < 2; ++i) {
    const Answer answer = put({.method = Method::kPut,
                               .key = probe_key_,
                               .headers = {{"if-none-match", "*"}},
                               .body = content},
                              checksum, [](int status, const ErrorAnswer& error) {
                                return status == 412 || is_not_implemented(status, error);
                              });
    if (answer.status() == 412) return Conditional::kHonoured;
    if (!answer.http.is_success()) return Conditional::kRefused;
  }
  return Conditional::kIgnored;
}

Answer Abilities::put(Request request, const Checksum& checksum, const Client::Accepts& accepts) {
  const Headers headers = request.headers;
  request.body_sha256 = checksum.sha256_hex;
  const auto attempt = [&](ChecksumKind kind, const Client::Accepts& accepted) {
    request.headers = headers;
    add_checksum(kind, request.body, checksum, request.headers);
    Answer answer = client_.send(request, accepted);
    learn(answer.http);
    return answer;
  };
  if (checksum_ == ChecksumKind::kMd5) return attempt(ChecksumKind::kMd5, accepts);
  const Answer newer = attempt(ChecksumKind::kSha256, [&](int status, const ErrorAnswer& error) {
    return accepts(status, error) || blames_checksum(status, error);
  });
  if (newer.http.is_success() || !blames_checksum(newer.status(), newer.error)) return newer;
  const Answer older = attempt(ChecksumKind::kMd5, accepts);
  if (older.http.is_success()) checksum_ = ChecksumKind::kMd5;  // else it was something else
  return older;
}

Answer Abilities::get(Request request) {
  if (checksum_ == ChecksumKind::kSha256) {
    Request asking = request;
    asking.headers.emplace_back("x-amz-checksum-mode", "ENABLED");
    Answer answer = client_.send(asking, [](int status, const ErrorAnswer& error) {
      return status == 404 || blames_checksum(status, error);
    });
    learn(answer.http);
    if (answer.http.is_success() || answer.status() == 404) return answer;
    checksum_ = ChecksumKind::kMd5;
  }
  Answer answer = client_.send(request, {404});
  learn(answer.http);
  return answer;
}

}  // namespace holdfast::storage::s3
