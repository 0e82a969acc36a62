// A storage that does something else right before its n-th operation: what goes on elsewhere while
// a host is paused.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <utility>

#include "storage/storage.h"

namespace holdfast::storage {

class PausingStorage final : public Storage {
 public:
  // `inner` outlives it. From 1 on; `meanwhile` runs once.
  PausingStorage(Storage& inner, std::size_t at, std::function<void()> meanwhile)
      : inner_(inner), left_(at), meanwhile_(std::move(meanwhile)) {}

  bool paused() const { return left_ <= 0; }

  PutResult put(std::string_view name, base::ByteView content, Use use = Use::kMetadata) override {
    step();
    return inner_.put(name, content, use);
  }
  std::optional<base::Bytes> get(std::string_view name, std::uint64_t max_size_bytes) override {
    step();
    return inner_.get(name, max_size_bytes);
  }
  std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                  base::MutableByteView buffer) override {
    step();
    return inner_.read(name, offset, buffer);
  }
  std::optional<ObjectInfo> stat(std::string_view name) override {
    step();
    return inner_.stat(name);
  }
  void list(std::string_view prefix, const std::function<void(const ObjectInfo&)>& each) override {
    step();
    inner_.list(prefix, each);
  }
  bool remove(std::string_view name) override {
    step();
    return inner_.remove(name);
  }
  std::string describe() const override { return inner_.describe(); }

 private:
  void step() {
    if (--left_ == 0) meanwhile_();
  }

  Storage& inner_;
  std::atomic<std::ptrdiff_t> left_;
  const std::function<void()> meanwhile_;
};

}  // namespace holdfast::storage
