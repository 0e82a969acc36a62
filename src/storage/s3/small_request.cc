#include "storage/s3/small_request.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <array>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "storage/s3/curl_library.h"

namespace holdfast::storage::s3 {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::size_t kMaxBodyBytes = std::size_t{64} * 1024;

struct FreeHandle {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct FreeHeaders {
  void operator()(curl_slist* list) const {
    for (curl_slist* item = list; item != nullptr; item = item->next) {
      crypto::wipe({reinterpret_cast<std::uint8_t*>(item->data), std::strlen(item->data)});
    }
    curl_slist_free_all(list);
  }
};
using HeaderList = std::unique_ptr<curl_slist, FreeHeaders>;

void append(HeaderList& list, const char* line) {
  curl_slist* longer = curl_slist_append(list.get(), line);
  if (longer == nullptr) throw std::bad_alloc();
  list.release();
  list.reset(longer);
}

HeaderList headers_of(const SmallRequest& request) {
  HeaderList list;
  append(list, "Expect:");  // no waiting for a "100 Continue"
  for (const std::string& line : request.headers) append(list, line.c_str());
  if (!request.secret_header.empty()) append(list, request.secret_header.view().data());
  return list;
}

// Called by libcurl. The text has room for all that is allowed, so nothing is copied by growing.
std::size_t receive(const char* data, std::size_t one, std::size_t size, void* to) noexcept {
  auto& text = *static_cast<std::string*>(to);
  if (size > kMaxBodyBytes - text.size()) return 0;  // ends the request
  text.append(data, size * one);
  return size;
}

void set(CURL* curl, CURLoption option, long value) { curl_easy_setopt(curl, option, value); }

void set_up(CURL* curl, const SmallRequest& request) {
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  set(curl, CURLOPT_NOSIGNAL, 1);
  set(curl, CURLOPT_FOLLOWLOCATION, 0);
  set(curl, CURLOPT_CONNECTTIMEOUT_MS, request.connect_timeout.count());
  set(curl, CURLOPT_TIMEOUT_MS, request.timeout.count());
  if (request.direct) curl_easy_setopt(curl, CURLOPT_PROXY, "");
  if (!request.ca_file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, request.ca_file.c_str());
  if (request.method == "GET") return;
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.view().data());
  set(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(request.body.view().size()));
}

[[noreturn]] void fail(CURLcode code, const SmallRequest& request, const char* detail) {
  const std::string what = code == CURLE_WRITE_ERROR
                               ? fmt::format("the answer is longer than {} bytes", kMaxBodyBytes)
                               : std::string(*detail != '\0' ? detail : curl_easy_strerror(code));
  throw Error(code == CURLE_OPERATION_TIMEDOUT ? ErrorKind::kTimeout : ErrorKind::kUnavailable,
              fmt::format("{}: {}", request.url, what));
}

}  // namespace

SmallAnswer send(const SmallRequest& request) {
  ensure_curl();
  const std::unique_ptr<CURL, FreeHandle> curl(curl_easy_init());
  if (curl == nullptr) throw std::bad_alloc();
  const HeaderList headers = headers_of(request);
  std::string body;
  body.reserve(kMaxBodyBytes);
  std::array<char, CURL_ERROR_SIZE> detail{};
  set_up(curl.get(), request);
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, receive);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &body);
  curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, detail.data());

  const CURLcode code = curl_easy_perform(curl.get());
  SmallAnswer answer{.body = crypto::SecretText(std::move(body))};
  if (code != CURLE_OK) fail(code, request, detail.data());
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &answer.status);
  return answer;
}

}  // namespace holdfast::storage::s3
