// A storage that kills its process (SIGKILL) at the n-th put: before it has any effect, or right
// behind it.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>

#include "storage/storage.h"

namespace holdfast::storage {

class KillingStorage final : public Storage {
 public:
  // `inner` outlives it.
  KillingStorage(Storage& inner, std::size_t at_put, bool after_effect)
      : inner_(inner), left_(at_put), after_effect_(after_effect) {}

  PutResult put(std::string_view name, base::ByteView content, Use use = Use::kMetadata) override {
    const bool now = --left_ == 0;
    if (now && !after_effect_) ::kill(::getpid(), SIGKILL);
    const PutResult result = inner_.put(name, content, use);
    if (now) ::kill(::getpid(), SIGKILL);
    return result;
  }
  std::optional<base::Bytes> get(std::string_view name, std::uint64_t max_size_bytes) override {
    return inner_.get(name, max_size_bytes);
  }
  std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                  base::MutableByteView buffer) override {
    return inner_.read(name, offset, buffer);
  }
  std::optional<ObjectInfo> stat(std::string_view name) override { return inner_.stat(name); }
  void list(std::string_view prefix, const std::function<void(const ObjectInfo&)>& each) override {
    inner_.list(prefix, each);
  }
  bool remove(std::string_view name) override { return inner_.remove(name); }
  std::string describe() const override { return inner_.describe(); }

 private:
  Storage& inner_;
  std::atomic<std::size_t> left_;
  const bool after_effect_;
};

}  // namespace holdfast::storage
