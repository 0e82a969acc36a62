#include "storage/s3/http.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "storage/s3/curl_library.h"

namespace holdfast::storage::s3 {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::size_t kMaxErrorBodyBytes = 64 * 1024;
constexpr std::size_t kMaxHeaders = 200;
constexpr long kBufferBytes = 512 * 1024;
constexpr long kUploadBufferBytes = 1024 * 1024;
// A request that goes on, but slower than this, is given up.
constexpr std::uint64_t kSlowestBytesPerSecond = 32 * 1024;
constexpr std::chrono::seconds kShortest{60};

// What trying again cannot mend: https://curl.se/libcurl/c/libcurl-errors.html.
bool is_final(CURLcode code) {
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_OUT_OF_MEMORY:
      return true;
    default:
      return false;
  }
}

std::string hint_for(CURLcode code) {
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
      return "the server's certificate is not of an authority that this machine trusts: give the "
             "authority's certificate as ca_file";
    case CURLE_SSL_CACERT_BADFILE:
      return "see that the ca_file can be read and holds certificates";
    case CURLE_COULDNT_RESOLVE_HOST:
      return "see the endpoint's name, and the name servers of this machine";
    case CURLE_COULDNT_CONNECT:
      return "see that the endpoint's address and port are right, and that it runs";
    default:
      return {};
  }
}

struct SlistFree {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Slist = std::unique_ptr<curl_slist, SlistFree>;

void append(Slist& list, const std::string& line) {
  curl_slist* longer = curl_slist_append(list.get(), line.c_str());
  if (longer == nullptr) throw std::bad_alloc();
  if (!list) list.reset(longer);
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) {
    text.remove_prefix(1);
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) {
    text.remove_suffix(1);
  }
  return text;
}

}  // namespace

std::string_view name_of(Method method) {
  switch (method) {
    case Method::kGet:
      return "GET";
    case Method::kHead:
      return "HEAD";
    case Method::kPut:
      return "PUT";
    case Method::kPost:
      return "POST";
    case Method::kDelete:
      return "DELETE";
  }
  return "";
}

std::string_view HttpAnswer::header(std::string_view name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string_view() : found->second;
}

struct Http::Handle {
  Handle() : curl(curl_easy_init()) {
    if (curl == nullptr) throw std::bad_alloc();
  }
  ~Handle() { curl_easy_cleanup(curl); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  CURL* curl;
};

// One request on a handle: the callbacks' state. Nothing throws through libcurl.
struct Http::Exchange {
  Exchange(CURL* the_curl, const HttpRequest& the_request, base::Throttle& the_throttle)
      : curl(the_curl), request(the_request), throttle(the_throttle) {}

  static std::size_t send(char* out, std::size_t size, std::size_t count, void* self) {
    auto& exchange = *static_cast<Exchange*>(self);
    const std::size_t wanted = std::min(size * count, exchange.request.body.size() - exchange.sent);
    if (wanted == 0) return 0;
    if (!exchange.pay(wanted)) return CURL_READFUNC_ABORT;
    std::memcpy(out, exchange.request.body.data() + exchange.sent, wanted);
    exchange.sent += wanted;
    return wanted;
  }

  static int rewind(void* self, curl_off_t offset, int origin) {
    auto& exchange = *static_cast<Exchange*>(self);
    if (origin != SEEK_SET || offset < 0 ||
        static_cast<std::uint64_t>(offset) > exchange.request.body.size()) {
      return CURL_SEEKFUNC_FAIL;
    }
    exchange.sent = static_cast<std::size_t>(offset);
    return CURL_SEEKFUNC_OK;
  }

  static std::size_t receive_header(char* data, std::size_t size, std::size_t count, void* self) {
    auto& answer = static_cast<Exchange*>(self)->answer;
    const std::string_view line(data, size * count);
    if (line.starts_with("HTTP/")) answer.headers.clear();  // a proxy's answer came before
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || answer.headers.size() >= kMaxHeaders) return line.size();
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    answer.headers[std::move(name)] = std::string(trimmed(line.substr(colon + 1)));
    return line.size();
  }

  static std::size_t receive(char* data, std::size_t size, std::size_t count, void* self) {
    auto& exchange = *static_cast<Exchange*>(self);
    const base::ByteView bytes(reinterpret_cast<const std::uint8_t*>(data), size * count);
    return exchange.pay(bytes.size()) && exchange.take(bytes) ? bytes.size() : 0;
  }

  bool pay(std::size_t bytes) {
    try {
      throttle.take(bytes, {});
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

  // False where there is more than there may be.
  bool take(base::ByteView bytes) {
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    const bool success = status / 100 == 2;
    if (success && !request.into.empty()) {
      if (bytes.size() > request.into.size() - answer.body_bytes) return fail_too_long();
      std::memcpy(request.into.data() + answer.body_bytes, bytes.data(), bytes.size());
    } else {
      const std::size_t most = success ? request.max_body_bytes : kMaxErrorBodyBytes;
      if (bytes.size() > most - std::min(most, answer.body.size())) return fail_too_long();
      if (answer.body.empty()) reserve(most);
      answer.body.insert(answer.body.end(), bytes.begin(), bytes.end());
    }
    answer.body_bytes += bytes.size();
    return true;
  }

  void reserve(std::size_t most) {
    curl_off_t length = -1;
    curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (length > 0) answer.body.reserve(std::min(most, static_cast<std::size_t>(length)));
  }

  bool fail_too_long() {
    answer.too_long = true;
    return false;
  }

  CURL* const curl;
  const HttpRequest& request;
  base::Throttle& throttle;
  std::size_t sent = 0;
  HttpAnswer answer;
};

namespace {

std::chrono::milliseconds deadline_for(const HttpRequest& request, const HttpOptions& options) {
  const std::uint64_t bytes =
      request.body.size() + std::max<std::uint64_t>(request.into.size(), request.max_body_bytes);
  const std::uint64_t rate =
      options.rate_bytes == 0
          ? kSlowestBytesPerSecond
          : std::min<std::uint64_t>(kSlowestBytesPerSecond, options.rate_bytes / 64 + 1);
  const std::uint64_t most = 24 * 3600;
  return kShortest + std::chrono::seconds(std::min(bytes / rate, most));
}

// Options are known to this libcurl, and their values live as long as the request.
template <typename Value>
void set(CURL* curl, CURLoption option, Value value) {
  if (curl_easy_setopt(curl, option, value) != CURLE_OK) {
    throw Error(ErrorKind::kFailed,
                fmt::format("libcurl refuses its option {}", static_cast<int>(option)));
  }
}

void set_connection(CURL* curl, const HttpOptions& options, std::chrono::milliseconds deadline) {
  set(curl, CURLOPT_NOSIGNAL, 1L);
  set(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  set(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(curl, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(curl, CURLOPT_PATH_AS_IS, 1L);
  set(curl, CURLOPT_TCP_KEEPALIVE, 1L);
  set(curl, CURLOPT_BUFFERSIZE, kBufferBytes);
  set(curl, CURLOPT_UPLOAD_BUFFERSIZE, kUploadBufferBytes);
  set(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
  set(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(deadline.count()));
  set(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(curl, CURLOPT_LOW_SPEED_TIME,
      std::max(1L, static_cast<long>(options.stall_timeout.count() / 1000)));
  if (!options.ca_file.empty()) set(curl, CURLOPT_CAINFO, options.ca_file.c_str());
  if (!options.proxy.empty()) set(curl, CURLOPT_PROXY, options.proxy.c_str());
}

void set_method(CURL* curl, const HttpRequest& request) {
  const auto size = static_cast<curl_off_t>(request.body.size());
  switch (request.method) {
    case Method::kGet:
      set(curl, CURLOPT_HTTPGET, 1L);
      break;
    case Method::kHead:
      set(curl, CURLOPT_NOBODY, 1L);
      break;
    case Method::kDelete:
      set(curl, CURLOPT_CUSTOMREQUEST, "DELETE");
      break;
    case Method::kPut:
      set(curl, CURLOPT_UPLOAD, 1L);
      set(curl, CURLOPT_INFILESIZE_LARGE, size);
      break;
    case Method::kPost:
      set(curl, CURLOPT_POST, 1L);
      set(curl, CURLOPT_POSTFIELDSIZE_LARGE, size);
      break;
  }
}

Error transport_error(CURLcode code, const HttpRequest& request, const char* detail) {
  const std::string why = *detail != '\0' ? detail : curl_easy_strerror(code);
  const ErrorKind kind = is_final(code)                     ? ErrorKind::kFailed
                         : code == CURLE_OPERATION_TIMEDOUT ? ErrorKind::kTimeout
                                                            : ErrorKind::kUnavailable;
  const std::string_view where = std::string_view(request.url).substr(0, request.url.find('?'));
  return {kind, fmt::format("{} {}: {}", name_of(request.method), where, why), hint_for(code)};
}

}  // namespace

Http::Http(HttpOptions options)
    : options_(std::move(options)),
      throttle_(options_.rate_bytes),
      room_(std::max(1, options_.requests_at_once)) {
  ensure_curl();
}

Http::~Http() = default;

std::unique_ptr<Http::Handle> Http::take_handle() {
  auto idle = idle_.lock();
  if (idle->empty()) return std::make_unique<Handle>();
  auto handle = std::move(idle->back());
  idle->pop_back();
  return handle;
}

HttpAnswer Http::perform(const HttpRequest& request) {
  room_.acquire();
  struct Release {
    std::counting_semaphore<>& room;
    ~Release() { room.release(); }
  } release{room_};

  std::unique_ptr<Handle> handle = take_handle();
  CURL* curl = handle->curl;
  curl_easy_reset(curl);  // the connection stays
  Exchange exchange(curl, request, throttle_);
  Slist headers;
  for (const auto& [name, value] : request.headers) append(headers, name + ": " + value);
  append(headers, "Expect:");  // no round trip before the body
  append(headers, "Accept:");
  append(headers, "Content-Type:");  // Ceph refuses one that is not signed
  char detail[CURL_ERROR_SIZE] = "";

  set_connection(curl, options_, deadline_for(request, options_));
  set_method(curl, request);
  set(curl, CURLOPT_URL, request.url.c_str());
  set(curl, CURLOPT_HTTPHEADER, headers.get());
  set(curl, CURLOPT_ERRORBUFFER, static_cast<char*>(detail));
  set(curl, CURLOPT_READFUNCTION, &Exchange::send);
  set(curl, CURLOPT_READDATA, &exchange);
  set(curl, CURLOPT_SEEKFUNCTION, &Exchange::rewind);
  set(curl, CURLOPT_SEEKDATA, &exchange);
  set(curl, CURLOPT_HEADERFUNCTION, &Exchange::receive_header);
  set(curl, CURLOPT_HEADERDATA, &exchange);
  set(curl, CURLOPT_WRITEFUNCTION, &Exchange::receive);
  set(curl, CURLOPT_WRITEDATA, &exchange);

  const CURLcode code = curl_easy_perform(curl);
  if (code != CURLE_OK && !exchange.answer.too_long) throw transport_error(code, request, detail);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  exchange.answer.status = static_cast<int>(status);
  idle_.lock()->push_back(std::move(handle));
  return std::move(exchange.answer);
}

}  // namespace holdfast::storage::s3
