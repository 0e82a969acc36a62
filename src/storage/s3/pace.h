// How long to wait before a request: after failures, and while the store asks to be spared.
// Internal to the S3 driver.
#pragma once

#include <chrono>
#include <string_view>

#include "base/concurrency.h"
#include "crypto/kdf.h"

namespace holdfast::storage::s3 {

// Thread-safe.
class Pace {
 public:
  using Milliseconds = std::chrono::milliseconds;
  explicit Pace(crypto::Random& random) : random_(random) {}

  // Before the n-th repetition (from 1): up to 100 ms, doubled each time, 10 s at most, at random,
  // so that many clients do not come back at once.
  Milliseconds before_repetition(int n);
  // "Retry-After: 2"; zero where there is none. A minute at most.
  static Milliseconds asked_for(std::string_view retry_after);

  // The store said 503 SlowDown: every request waits, twice as long each time, 5 s at most; what
  // succeeds shortens the wait again.
  void slow_down();
  void succeeded();
  Milliseconds before_request();

 private:
  Milliseconds jittered(Milliseconds most);

  crypto::Random& random_;
  base::Guarded<Milliseconds> pause_{Milliseconds{0}};
};

}  // namespace holdfast::storage::s3
