// A storage that notes which I/O was done, so that a test can say how much there may be.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/concurrency.h"
#include "storage/operation.h"
#include "storage/storage.h"

namespace holdfast::storage {

// One operation that did not throw.
struct Io {
  Operation operation;
  std::string name;         // of a list: the prefix
  std::uint64_t bytes = 0;  // written or read; of a list: the number of objects
  bool operator==(const Io&) const = default;
};

// The notes; outlive the storages that make them. Thread-safe.
class Recording {
 public:
  void add(Io io) { ios_.lock()->push_back(std::move(io)); }
  void clear() { ios_.lock()->clear(); }

  // In the order in which the operations ended.
  std::vector<Io> all() { return *ios_.lock(); }

  std::size_t count(Operation operation, std::string_view name_prefix = {}) {
    std::size_t result = 0;
    for_each(operation, name_prefix, [&](const Io&) { ++result; });
    return result;
  }
  std::uint64_t bytes(Operation operation, std::string_view name_prefix = {}) {
    std::uint64_t result = 0;
    for_each(operation, name_prefix, [&](const Io& io) { result += io.bytes; });
    return result;
  }

 private:
  template <typename Each>
  void for_each(Operation operation, std::string_view name_prefix, Each each) {
    for (const Io& io : *ios_.lock()) {
      if (io.operation == operation && io.name.starts_with(name_prefix)) each(io);
    }
  }

  base::Guarded<std::vector<Io>> ios_;
};

class RecordingStorage final : public Storage {
 public:
  // Both outlive it.
  RecordingStorage(Storage& inner, Recording& recording) : inner_(inner), recording_(recording) {}

  PutResult put(std::string_view name, base::ByteView content, Use use = Use::kMetadata) override {
    const PutResult result = inner_.put(name, content, use);
    note(Operation::kPut, name, result == PutResult::kCreated ? content.size() : 0);
    return result;
  }
  std::optional<base::Bytes> get(std::string_view name, std::uint64_t max_size_bytes) override {
    auto content = inner_.get(name, max_size_bytes);
    note(Operation::kGet, name, content ? content->size() : 0);
    return content;
  }
  std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                  base::MutableByteView buffer) override {
    const auto count = inner_.read(name, offset, buffer);
    note(Operation::kRead, name, count.value_or(0));
    return count;
  }
  std::optional<ObjectInfo> stat(std::string_view name) override {
    auto info = inner_.stat(name);
    note(Operation::kStat, name, 0);
    return info;
  }
  void list(std::string_view prefix, const std::function<void(const ObjectInfo&)>& each) override {
    std::uint64_t count = 0;
    inner_.list(prefix, [&](const ObjectInfo& info) {
      ++count;
      each(info);
    });
    note(Operation::kList, prefix, count);
  }
  bool remove(std::string_view name) override {
    const bool removed = inner_.remove(name);
    note(Operation::kRemove, name, 0);
    return removed;
  }
  std::string describe() const override { return inner_.describe(); }

 private:
  void note(Operation operation, std::string_view name, std::uint64_t bytes) {
    recording_.add({operation, std::string(name), bytes});
  }

  Storage& inner_;
  Recording& recording_;
};

}  // namespace holdfast::storage
