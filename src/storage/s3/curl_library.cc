#include "storage/s3/curl_library.h"

#include <curl/curl.h>

#include "base/error.h"

namespace holdfast::storage::s3 {

void ensure_curl() {
  // Never undone: other threads may be at work until the process ends.
  static const CURLcode result = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (result == CURLE_OK) return;
  throw base::Error(base::ErrorKind::kFailed, "libcurl cannot be used: its start failed");
}

}  // namespace holdfast::storage::s3
