// A storage that counts what is put. Internal to this folder.
#pragma once

#include <atomic>

#include "storage/storage.h"

namespace holdfast::repository {

// `inner` outlives it.
class CountedStorage final : public storage::Storage {
 public:
  explicit CountedStorage(storage::Storage& inner) : inner_(inner) {}

  std::uint64_t objects_put() const { return objects_; }
  std::uint64_t bytes_put() const { return bytes_; }

  storage::PutResult put(std::string_view name, base::ByteView content, storage::Use use) override {
    const storage::PutResult result = inner_.put(name, content, use);
    if (result == storage::PutResult::kCreated) {
      ++objects_;
      bytes_ += content.size();
    }
    return result;
  }
  std::optional<base::Bytes> get(std::string_view name, std::uint64_t max_size_bytes) override {
    return inner_.get(name, max_size_bytes);
  }
  std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                  base::MutableByteView buffer) override {
    return inner_.read(name, offset, buffer);
  }
  std::optional<storage::ObjectInfo> stat(std::string_view name) override {
    return inner_.stat(name);
  }
  void list(std::string_view prefix,
            const std::function<void(const storage::ObjectInfo&)>& each) override {
    inner_.list(prefix, each);
  }
  bool remove(std::string_view name) override { return inner_.remove(name); }
  void remove_all(std::span<const std::string> names) override { inner_.remove_all(names); }
  int requests_at_once() const override { return inner_.requests_at_once(); }
  storage::ObjectStore* object_store() override { return inner_.object_store(); }
  std::string describe() const override { return inner_.describe(); }

 private:
  storage::Storage& inner_;
  std::atomic<std::uint64_t> objects_{0};
  std::atomic<std::uint64_t> bytes_{0};
};

}  // namespace holdfast::repository
