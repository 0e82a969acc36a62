// HTTP requests over connections that are kept open. Internal to the S3 driver.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <semaphore>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/concurrency.h"
#include "base/throttle.h"

namespace holdfast::storage::s3 {

enum class Method { kGet, kHead, kPut, kPost, kDelete };
std::string_view name_of(Method method);

using Headers = std::vector<std::pair<std::string, std::string>>;  // names in lower case

struct HttpRequest {
  Method method = Method::kGet;
  std::string url;
  Headers headers;
  base::ByteView body;
  // Where the body of a successful answer goes; what is longer is an error. Empty: into the answer.
  base::MutableByteView into;
  std::size_t max_body_bytes = 0;  // of a successful answer's body otherwise
};

struct HttpAnswer {
  int status = 0;
  std::map<std::string, std::string, std::less<>> headers;  // names in lower case
  base::Bytes body;
  std::size_t body_bytes = 0;  // also of what went elsewhere
  bool too_long = false;       // the body was larger than allowed, and was not read to its end

  std::string_view header(std::string_view name) const;  // empty: none
  bool is_success() const { return status / 100 == 2; }
};

struct HttpOptions {
  std::string ca_file;
  std::string proxy;
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds stall_timeout{30'000};
  std::uint64_t rate_bytes = 0;
  int requests_at_once = 16;
};

// Thread-safe: so many requests are under way at once, the others wait. A connection is used by one
// request at a time, and the one that was used last first.
class Http {
 public:
  explicit Http(HttpOptions options);
  ~Http();
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;

  // Whatever the status is. kUnavailable or kTimeout where no whole answer came: the request may or
  // may not have been carried out. kFailed where trying again cannot help (a certificate, say).
  HttpAnswer perform(const HttpRequest& request);

 private:
  struct Handle;
  struct Exchange;
  std::unique_ptr<Handle> take_handle();

  const HttpOptions options_;
  base::Throttle throttle_;
  std::counting_semaphore<> room_;
  base::Guarded<std::vector<std::unique_ptr<Handle>>> idle_;
};

}  // namespace holdfast::storage::s3
