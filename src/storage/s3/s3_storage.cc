#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "storage/object_store.h"
#include "storage/s3/examination.h"
#include "storage/s3/first_versions.h"
#include "storage/s3/read_ahead.h"
#include "storage/s3/s3.h"
#include "storage/s3/uploader.h"

namespace holdfast::storage::s3 {
namespace {

using base::Error;
using base::ErrorKind;

constexpr int kMostBrokenAnswers = 3;
constexpr std::size_t kMostInOneDelete = 1000;

// Keys of ours that are no objects: a probe and claims.
constexpr std::string_view kOwnFolder = "tmp/";

std::string prefix_of(const Options& options) {
  std::string prefix = options.prefix;
  while (prefix.starts_with('/')) prefix.erase(0, 1);
  while (prefix.ends_with('/')) prefix.pop_back();
  return prefix.empty() ? prefix : prefix + "/";
}

std::string xml_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

class S3Storage final : public Storage, public ObjectStore {
 public:
  S3Storage(Options options, std::unique_ptr<CredentialSource> credentials,
            const base::Clock& clock, crypto::Random& random)
      : options_(std::move(options)),
        prefix_(prefix_of(options_)),
        client_(options_, std::move(credentials), clock, random),
        abilities_(client_, prefix_ + std::string(kOwnFolder) + "probe"),
        uploader_(client_, abilities_, options_, prefix_ + std::string(kOwnFolder) + "claims/",
                  clock, random),
        read_ahead_(
            [this](const std::string& name, std::uint64_t offset, base::MutableByteView buffer) {
              return read_piece(name, offset, buffer);
            }) {
    if (options_.first_versions) versions_.emplace(client_, prefix_);
  }

  ~S3Storage() override { client_.close(); }
  S3Storage(const S3Storage&) = delete;
  S3Storage& operator=(const S3Storage&) = delete;

  // ---- Storage

  PutResult put(std::string_view name, base::ByteView content, Use use) override {
    check_name(name);
    require_writable(name);
    return uploader_.put(key_of(name), content, use);
  }

  std::optional<base::Bytes> get(std::string_view name, std::uint64_t max_size_bytes) override {
    check_name(name);
    for (int i = 0; i < kMostBrokenAnswers; ++i) {
      Request request{.method = Method::kGet, .key = key_of(name)};
      if (!choose_version(name, request)) return std::nullopt;
      request.max_body_bytes =
          std::min<std::uint64_t>(max_size_bytes, std::numeric_limits<std::ptrdiff_t>::max());
      Answer answer = abilities_.get(request);
      if (!is_there(request, answer)) return std::nullopt;
      if (answer.http.too_long) throw_too_large(name, max_size_bytes);
      if (is_intact(answer.http, answer.http.body)) return std::move(answer.http.body);
    }
    throw Error(ErrorKind::kDamaged,
                fmt::format("{}: {} does not arrive as it was stored", describe(), name));
  }

  std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                  base::MutableByteView buffer) override {
    check_name(name);
    constexpr std::uint64_t kEnd = std::numeric_limits<std::int64_t>::max();
    if (buffer.empty() || offset >= kEnd) {
      return stat(name) ? std::optional<std::size_t>(0) : std::nullopt;
    }
    return read_ahead_.read(std::string(name), offset,
                            buffer.first(std::min<std::uint64_t>(buffer.size(), kEnd - offset)));
  }

  std::optional<ObjectInfo> stat(std::string_view name) override {
    check_name(name);
    const auto answer = head(name);
    if (!answer) return std::nullopt;
    ObjectInfo info;
    info.name = name;
    const auto modified = parse_http_date(answer->http.header("last-modified"));
    const std::string_view length = answer->http.header("content-length");
    const char* end = length.data() + length.size();
    if (!modified || std::from_chars(length.data(), end, info.size_bytes).ptr != end) {
      throw Error(
          ErrorKind::kFailed,
          fmt::format("{}: the store's answer about {} cannot be understood", describe(), name));
    }
    info.modified = *modified;
    info.storage_class = answer->http.header("x-amz-storage-class");
    return info;
  }

  void list(std::string_view prefix, const std::function<void(const ObjectInfo&)>& each) override {
    check_prefix(prefix);
    const auto pass_on = [&](ObjectInfo info) {
      info.name.erase(0, prefix_.size());
      if (is_valid_name(info.name)) each(info);  // what others have put is none of ours
    };
    const std::string keys = prefix_ + std::string(prefix);
    if (versions_) {
      for (ObjectInfo& info : versions_->list(keys)) pass_on(std::move(info));
      return;
    }
    list_keys(keys, pass_on);
  }

  // The store does not say whether a DELETE found anything.
  bool remove(std::string_view name) override {
    check_name(name);
    require_writable(name);
    if (!head(name)) return false;
    read_ahead_.forget(std::string(name));
    client_.send({.method = Method::kDelete, .key = key_of(name)}, {404});
    return true;
  }

  void remove_all(std::span<const std::string> names) override {
    for (const std::string& name : names) {
      check_name(name);
      require_writable(name);
      read_ahead_.forget(name);
    }
    while (!names.empty()) {
      const std::size_t count = std::min(names.size(), kMostInOneDelete);
      remove_batch(names.first(count));
      names = names.subspan(count);
    }
  }

  int requests_at_once() const override { return options_.requests_at_once; }
  ObjectStore* object_store() override { return this; }

  std::string describe() const override {
    return fmt::format(
        "s3://{}{}{}", options_.bucket, options_.prefix.empty() ? "" : "/",
        std::string_view(prefix_).substr(0, prefix_.empty() ? 0 : prefix_.size() - 1));
  }

  // ---- ObjectStore

  std::optional<ObjectState> state(std::string_view name) override {
    check_name(name);
    const auto answer = head(name);
    if (!answer) return std::nullopt;
    return state_of(answer->http);
  }

  void thaw(std::string_view name, ThawSpeed speed, int days) override {
    check_name(name);
    const std::string body = fmt::format(
        "<RestoreRequest><Days>{}</Days><GlacierJobParameters><Tier>{}</Tier>"
        "</GlacierJobParameters></RestoreRequest>",
        days, name_of(speed));
    Request request{.method = Method::kPost,
                    .key = key_of(name),
                    .query = {{"restore", ""}},
                    .body = base::as_bytes(body)};
    if (!choose_version(name, request)) return;
    abilities_.put(request, checksum_of(request.body), [](int, const ErrorAnswer& error) {
      return error.code == "RestoreAlreadyInProgress";
    });
  }

  std::optional<base::Duration> lock_period() const override { return options_.object_lock; }

  void lock_until(std::string_view name, base::Time until) override {
    check_name(name);
    const std::string body = fmt::format(
        "<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>{}</RetainUntilDate></Retention>",
        base::format_time(std::chrono::ceil<std::chrono::seconds>(until)));
    abilities_.put({.method = Method::kPut,
                    .key = key_of(name),
                    .query = {{"retention", ""}},
                    .body = base::as_bytes(body)},
                   checksum_of(base::as_bytes(body)),
                   [](int, const ErrorAnswer&) { return false; });
  }

  std::vector<UnfinishedUpload> unfinished_uploads() override;

  void abort_upload(const UnfinishedUpload& upload) override {
    client_.send(
        {.method = Method::kDelete, .key = key_of(upload.name), .query = {{"uploadId", upload.id}}},
        {404});
  }

  std::vector<StoreFinding> examine() override {
    return s3::examine(client_, abilities_, options_, prefix_);
  }

 private:
  static std::string_view name_of(ThawSpeed speed) {
    switch (speed) {
      case ThawSpeed::kBulk:
        return "Bulk";
      case ThawSpeed::kStandard:
        return "Standard";
      case ThawSpeed::kExpedited:
        return "Expedited";
    }
    return "";
  }

  std::string key_of(std::string_view name) const { return prefix_ + std::string(name); }

  void require_writable(std::string_view name) const {
    if (!options_.first_versions) return;
    throw Error(
        ErrorKind::kRefused,
        fmt::format("{} cannot be written: the repository is read by its first versions", name),
        "remove versions: first from the configuration to write");
  }

  // False where there is no version of the object.
  bool choose_version(std::string_view name, Request& request) {
    if (!versions_) return true;
    const auto version = versions_->find(key_of(name));
    if (!version) return false;
    request.query.emplace_back("versionId", *version);
    return true;
  }

  // A 404 may also say that there is no such bucket.
  bool is_there(const Request& request, const Answer& answer) const {
    if (answer.status() != 404) return true;
    if (answer.error.code == "NoSuchBucket") throw client_.error_of(request, answer);
    return false;
  }

  // A piece of an object has no checksum: TLS guards it on the way, and its reader authenticates
  // it.
  std::optional<Piece> read_piece(const std::string& name, std::uint64_t offset,
                                  base::MutableByteView buffer) {
    Request request{.method = Method::kGet, .key = key_of(name), .into = buffer};
    if (!choose_version(name, request)) return std::nullopt;
    request.headers.emplace_back("range",
                                 fmt::format("bytes={}-{}", offset, offset + buffer.size() - 1));
    const Answer answer = client_.send(request, {404, 416});
    if (answer.status() == 416) return Piece{};
    if (!is_there(request, answer)) return std::nullopt;
    if (answer.http.too_long || (answer.status() == 200 && offset > 0)) {
      throw Error(ErrorKind::kFailed,
                  fmt::format("{}: the store gave another part of {} than was asked for",
                              describe(), name));
    }
    // "bytes 0-9/443"
    std::string_view range = answer.http.header("content-range");
    range.remove_prefix(std::min(range.size(), range.rfind('/') + 1));
    Piece piece{.size = answer.http.body_bytes};
    std::from_chars(range.data(), range.data() + range.size(), piece.object_size);
    return piece;
  }

  std::optional<Answer> head(std::string_view name) {
    Request request{.method = Method::kHead, .key = key_of(name)};
    if (!choose_version(name, request)) return std::nullopt;
    Answer answer = client_.send(request, {404});
    if (!answer.http.is_success()) return std::nullopt;
    abilities_.learn(answer.http);
    return answer;
  }

  [[noreturn]] void throw_too_large(std::string_view name, std::uint64_t max_size_bytes) const {
    throw Error(ErrorKind::kDamaged, fmt::format("{}: {} is larger than the {} bytes it may have",
                                                 describe(), name, max_size_bytes));
  }

  template <typename Each>
  void list_keys(const std::string& keys, Each each) {
    std::string next;
    std::string last;
    do {
      Request request{.method = Method::kGet,
                      .query = {{"list-type", "2"}, {"prefix", keys}, {"encoding-type", "url"}}};
      if (!next.empty()) request.query.emplace_back("continuation-token", next);
      const Answer answer = client_.send(request);
      ListPage page = read_list(answer.http.body);
      for (ListedObject& object : page.objects) {
        if (!object.info.name.starts_with(keys) || object.info.name <= last) {
          throw Error(ErrorKind::kFailed,
                      fmt::format("{}: the store's listing is not in order", describe()),
                      "buckets of the kind \"directory\" (S3 Express) cannot hold a repository");
        }
        last = object.info.name;
        each(std::move(object.info));
      }
      next = page.next;
    } while (!next.empty());
  }

  void remove_batch(std::span<const std::string> names) {
    std::string body = "<Delete><Quiet>true</Quiet>";
    for (const std::string& name : names) {
      body += "<Object><Key>" + xml_escaped(key_of(name)) + "</Key></Object>";
    }
    body += "</Delete>";
    const Request request{
        .method = Method::kPost, .query = {{"delete", ""}}, .body = base::as_bytes(body)};
    const Answer answer =
        abilities_.put(request, checksum_of(request.body),
                       [](int status, const ErrorAnswer&) { return status == 501; });
    if (!answer.http.is_success()) return remove_in_turn(names);
    for (const DeleteFailure& failure : read_delete_failures(answer.http.body)) {
      if (failure.code == "NoSuchKey") continue;
      // Alone it fails with its own error, or succeeds.
      remove(failure.key.substr(std::min(failure.key.size(), prefix_.size())));
    }
  }

  void remove_in_turn(std::span<const std::string> names) {
    for (const std::string& name : names) remove(name);
  }

  static ObjectState state_of(const HttpAnswer& answer);

  const Options options_;
  const std::string prefix_;
  Client client_;
  Abilities abilities_;
  Uploader uploader_;
  std::optional<FirstVersions> versions_;
  ReadAhead read_ahead_;  // the last member: its threads end before the others go
};

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html, x-amz-restore:
// ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT".
ObjectState S3Storage::state_of(const HttpAnswer& answer) {
  ObjectState state;
  state.storage_class = answer.header("x-amz-storage-class");
  if (state.storage_class.empty()) state.storage_class = "STANDARD";
  const std::string_view archive = answer.header("x-amz-archive-status");
  if (state.storage_class == "GLACIER" || state.storage_class == "DEEP_ARCHIVE" ||
      !archive.empty()) {
    state.thaw = ObjectState::Thaw::kNeeded;
  }
  const std::string_view restore = answer.header("x-amz-restore");
  if (restore.find("ongoing-request=\"true\"") != std::string_view::npos) {
    state.thaw = ObjectState::Thaw::kUnderWay;
  } else if (restore.find("ongoing-request=\"false\"") != std::string_view::npos) {
    state.thaw = ObjectState::Thaw::kThawed;
    constexpr std::string_view kExpiry = "expiry-date=\"";
    const std::size_t begin = restore.find(kExpiry);
    if (begin != std::string_view::npos) {
      std::string_view date = restore.substr(begin + kExpiry.size());
      state.thawed_until = parse_http_date(date.substr(0, date.find('"')));
    }
  }
  const std::string_view until = answer.header("x-amz-object-lock-retain-until-date");
  if (!until.empty()) state.locked_until = parse_moment(until);
  return state;
}

std::vector<UnfinishedUpload> S3Storage::unfinished_uploads() {
  std::vector<UnfinishedUpload> uploads;
  UploadsPage page;
  do {
    Request request{.method = Method::kGet,
                    .query = {{"uploads", ""}, {"prefix", prefix_}, {"encoding-type", "url"}}};
    if (!page.next_key.empty()) {
      request.query.emplace_back("key-marker", page.next_key);
      request.query.emplace_back("upload-id-marker", page.next_id);
    }
    page = read_uploads(client_.send(request).http.body);
    for (UploadsPage::Upload& upload : page.uploads) {
      if (!upload.key.starts_with(prefix_)) continue;
      std::string name = upload.key.substr(prefix_.size());
      if (is_valid_name(name)) uploads.push_back({std::move(name), upload.id, upload.begun});
    }
  } while (!page.next_key.empty());
  return uploads;
}

void refuse_control_characters(const Options& options) {
  for (const std::string* text :
       {&options.bucket, &options.prefix, &options.endpoint, &options.region,
        &options.storage_class, &options.kms_key, &options.tags}) {
    for (const char c : *text) {
      if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) continue;
      throw Error(ErrorKind::kConfig, "a setting of the S3 repository holds a control character");
    }
  }
}

}  // namespace

std::unique_ptr<Storage> open(Options options, std::unique_ptr<CredentialSource> credentials,
                              const base::Clock& clock, crypto::Random& random) {
  refuse_control_characters(options);
  return std::make_unique<S3Storage>(std::move(options), std::move(credentials), clock, random);
}

}  // namespace holdfast::storage::s3
