// Getting libcurl ready. Internal to the S3 driver.
#pragma once

namespace holdfast::storage::s3 {

// Before anything of libcurl is used. Thread-safe; only the first call does something.
void ensure_curl();

}  // namespace holdfast::storage::s3
