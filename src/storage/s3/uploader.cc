#include "storage/s3/uploader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "crypto/hash.h"
#include "storage/s3/claim.h"

namespace holdfast::storage::s3 {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::string_view kTokenHeader = "x-amz-meta-holdfast-put";
// From here on an object goes in parts, of which several are under way at once.
constexpr std::size_t kInPartsFromBytes = 32 * 1024 * 1024;
constexpr std::size_t kPartBytes = 16 * 1024 * 1024;
constexpr std::size_t kMostParts = 9'000;  // S3 takes 10,000
constexpr int kPartsAtOnce = 4;
constexpr int kMostDisappearances = 5;

std::string random_token(crypto::Random& random) {
  std::array<std::uint8_t, 16> token{};
  random.fill(token);
  return base::to_hex(token);
}

Error comes_and_goes(const std::string& key) {
  return {ErrorKind::kUnavailable,
          fmt::format("{} is taken one moment and not there the next", key), "try again"};
}

std::string format_retention(base::Time time) {
  return base::format_time(std::chrono::ceil<std::chrono::seconds>(time));
}

}  // namespace

struct Uploader::Task {
  const std::string& key;
  base::ByteView content;
  Use use = Use::kMetadata;
  bool conditionally = true;  // with If-None-Match
  std::string token = {};     // of this object alone
  std::function<void()> before_creation = [] {};

  std::size_t part_bytes() const { return std::max(kPartBytes, content.size() / kMostParts + 1); }
  std::size_t parts() const { return (content.size() + part_bytes() - 1) / part_bytes(); }
  base::ByteView part(std::size_t number) const {  // from 0
    const std::size_t begin = number * part_bytes();
    return content.subspan(begin, std::min(part_bytes(), content.size() - begin));
  }
};

Uploader::Uploader(Client& client, Abilities& abilities, const Options& options,
                   std::string claims_folder, const base::Clock& clock, crypto::Random& random)
    : client_(client),
      abilities_(abilities),
      options_(options),
      claims_folder_(std::move(claims_folder)),
      clock_(clock),
      random_(random) {}

// By the store's clock. A quarter more than asked for: what the next backups use again is covered
// without being extended each time.
std::optional<base::Time> Uploader::locked_until(Use use) const {
  if (!options_.object_lock || use == Use::kTransient) return std::nullopt;
  return clock_.now() + client_.clock_skew() + *options_.object_lock + *options_.object_lock / 4;
}

Headers Uploader::headers_of(const Task& task) const {
  Headers headers = {{std::string(kTokenHeader), task.token}};
  abilities_.describe(headers);
  if (task.use == Use::kBulk && !options_.storage_class.empty()) {
    headers.emplace_back("x-amz-storage-class", options_.storage_class);
  }
  if (!options_.kms_key.empty()) {
    headers.emplace_back("x-amz-server-side-encryption", "aws:kms");
    headers.emplace_back("x-amz-server-side-encryption-aws-kms-key-id", options_.kms_key);
  } else if (options_.encrypt) {
    headers.emplace_back("x-amz-server-side-encryption", "AES256");
  }
  if (!options_.tags.empty()) headers.emplace_back("x-amz-tagging", options_.tags);
  if (const auto until = locked_until(task.use)) {
    headers.emplace_back("x-amz-object-lock-mode", "COMPLIANCE");
    headers.emplace_back("x-amz-object-lock-retain-until-date", format_retention(*until));
  }
  return headers;
}

// In parts, the condition goes with the request that makes the object appear, and not every store
// looks at it there: so a claim is taken too, and two that create one large object see each other.
// Nobody else ever puts an object of a random name, so the condition alone will do for these.
PutResult Uploader::put(const std::string& key, base::ByteView content, Use use) {
  const bool conditionally = abilities_.conditional() == Conditional::kHonoured;
  const bool in_parts = content.size() >= kInPartsFromBytes;
  Task task{.key = key,
            .content = content,
            .use = use,
            .conditionally = conditionally,
            .token = random_token(random_)};
  const bool is_exact = abilities_.one_of_many_wins() && !in_parts;
  if (is_exact || use == Use::kBulk) return in_parts ? put_in_parts(task) : put_whole(task);
  // By a hash: beside a long key there would be no room for a longer one.
  const std::string folder =
      claims_folder_ + base::to_hex(crypto::sha256(base::as_bytes(key))) + "/";
  auto claim = Claim::take(client_, random_, folder, [&] { return exists(key); });
  if (!claim) return PutResult::kExists;
  task.before_creation = [&] { claim->require_fresh(folder); };
  return in_parts ? put_in_parts(task) : put_whole(task);
}

bool Uploader::exists(const std::string& key) {
  return client_.send({.method = Method::kHead, .key = key}, {404}).http.is_success();
}

PutResult Uploader::put_whole(const Task& task) {
  const Checksum checksum = checksum_of(task.content);
  Request request{
      .method = Method::kPut, .key = task.key, .headers = headers_of(task), .body = task.content};
  if (task.conditionally) request.headers.emplace_back("if-none-match", "*");
  for (int i = 0; i < kMostDisappearances; ++i) {
    task.before_creation();
    const Answer answer = abilities_.put(
        request, checksum, [](int status, const ErrorAnswer&) { return status == 412; });
    if (answer.http.is_success()) return PutResult::kCreated;
    if (const auto settled = settle_existing(task)) return *settled;
  }
  throw comes_and_goes(task.key);
}

// What stands there may be what an attempt of ours has put, whose answer was lost. Nullopt: nothing
// stands there any more.
std::optional<PutResult> Uploader::settle_existing(const Task& task) {
  const Answer answer = client_.send({.method = Method::kHead, .key = task.key}, {404});
  if (!answer.http.is_success()) return std::nullopt;
  return answer.http.header(kTokenHeader) == task.token ? PutResult::kCreated : PutResult::kExists;
}

PutResult Uploader::put_in_parts(const Task& task) {
  Request begin{.method = Method::kPost, .key = task.key, .query = {{"uploads", ""}}};
  begin.headers = headers_of(task);
  if (abilities_.checksum() == ChecksumKind::kSha256) {
    begin.headers.emplace_back("x-amz-checksum-algorithm", "SHA256");
  }
  const std::string upload = read_upload_id(client_.send(begin).http.body);
  try {
    std::vector<std::string> parts(task.parts());
    base::share_out(parts.size(), kPartsAtOnce, {}, [&] {
      return [&](std::size_t number) { parts[number] = put_part(task, upload, number); };
    });
    const PutResult result = complete(task, upload, fmt::format("{}", fmt::join(parts, "")));
    if (result == PutResult::kExists) abort(task.key, upload);
    return result;
  } catch (const std::exception&) {
    abort(task.key, upload);
    throw;
  }
}

// Its entry for the completion.
std::string Uploader::put_part(const Task& task, const std::string& upload, std::size_t number) {
  const Checksum checksum = checksum_of(task.part(number));
  const Answer answer =
      abilities_.put({.method = Method::kPut,
                      .key = task.key,
                      .query = {{"partNumber", std::to_string(number + 1)}, {"uploadId", upload}},
                      .body = task.part(number)},
                     checksum, [](int, const ErrorAnswer&) { return false; });
  const std::string sum = abilities_.checksum() == ChecksumKind::kSha256
                              ? "<ChecksumSHA256>" + checksum.sha256_base64 + "</ChecksumSHA256>"
                              : "";
  return fmt::format("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag>{}</Part>", number + 1,
                     answer.http.header("etag"), sum);
}

// S3 may begin to answer 200 and then find that it failed: then the body is an error.
PutResult Uploader::complete(const Task& task, const std::string& upload,
                             const std::string& parts) {
  const std::string body = "<CompleteMultipartUpload>" + parts + "</CompleteMultipartUpload>";
  Request request{.method = Method::kPost,
                  .key = task.key,
                  .query = {{"uploadId", upload}},
                  .body = base::as_bytes(body)};
  if (task.conditionally) request.headers.emplace_back("if-none-match", "*");
  for (int i = 0; i < kMostDisappearances; ++i) {
    task.before_creation();
    const Answer answer = client_.send(request, [](int status, const ErrorAnswer& error) {
      return status == 412 || error.code == "NoSuchUpload";
    });
    const bool done = !read_element(answer.http.body, "ETag").empty() &&
                      read_error(answer.http.body).code.empty();
    if (answer.http.is_success() && done) return PutResult::kCreated;
    if (const auto settled = settle_existing(task)) return *settled;
    if (answer.error.code == "NoSuchUpload") break;
  }
  throw comes_and_goes(task.key);
}

// What cannot be removed now is found by prune.
void Uploader::abort(const std::string& key, const std::string& upload) {
  try {
    client_.send({.method = Method::kDelete, .key = key, .query = {{"uploadId", upload}}}, {404});
  } catch (const std::exception&) {
  }
}

}  // namespace holdfast::storage::s3
