// A repository in memory for one test, with a clock that stands and randomness that is the same in
// every run; and the assertion that something is refused as it should be.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/concurrency.h"
#include "base/error.h"
#include "base/time.h"
#include "crypto/hash.h"
#include "repository/repository.h"
#include "storage/memory.h"

namespace holdfast::repository {

class StoppedClock final : public base::Clock {
 public:
  base::Time now() const override { return *base::parse_time("2024-01-17T12:00:00.25Z", {}); }
};

// SHA-256 of a counter. Thread-safe.
class RepeatableRandom final : public crypto::Random {
 public:
  explicit RepeatableRandom(std::uint64_t seed = 1) : next_(seed << 32) {}
  void fill(base::MutableByteView out) override {
    auto next = next_.lock();
    while (!out.empty()) {
      base::ByteWriter writer;
      writer.u64((*next)++);
      const crypto::Digest digest = crypto::sha256(writer.view());
      const std::size_t size = std::min(out.size(), digest.size());
      std::copy_n(digest.begin(), size, out.begin());
      out = out.subspan(size);
    }
  }

 private:
  base::Guarded<std::uint64_t> next_;
};

// The parts of a repository without its slots and its format object. Another seed, another
// repository.
struct TestRepository {
  explicit TestRepository(std::uint64_t seed = 1) : random(seed) {}

  Context context_of(storage::Storage& other_storage) {
    return {other_storage, keyring, clock, random, compression_level};
  }
  Context context() { return context_of(*storage); }
  Context write_only_context() { return {*storage, write_only, clock, random, compression_level}; }

  StoppedClock clock;
  RepeatableRandom random;
  int compression_level = 3;
  Keyring keyring = Keyring::make(random);
  Keyring write_only = keyring.write_only();
  std::unique_ptr<storage::Storage> storage = storage::open_memory();
};

// The Error that `body` throws; a failure of the test if it throws none.
inline base::Error error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const base::Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return base::Error(base::ErrorKind::kFailed, "nothing was thrown");
}

// Calls `each` with one bit of each of the first 1,024 bytes, of every step_bytes-th byte behind
// them, and with the last bit; which bit of the byte it is changes from one to the next.
inline void for_each_bit(std::size_t size_bytes, std::size_t step_bytes,
                         const std::function<void(std::size_t bit)>& each) {
  for (std::size_t byte = 0; byte < size_bytes; byte += byte < 1024 ? 1 : step_bytes) {
    each(byte * 8 + byte % 8);
  }
  each(size_bytes * 8 - 1);
}

inline base::Bytes bytes_of(std::string_view text) {
  const base::ByteView view = base::as_bytes(text);
  return {view.begin(), view.end()};
}

}  // namespace holdfast::repository
