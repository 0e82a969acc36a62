// A storage whose clock the test sets.
#pragma once

#include <map>
#include <string>

#include "base/concurrency.h"
#include "storage/storage.h"

namespace holdfast::storage {

class ClockedStorage final : public Storage {
 public:
  // `inner` outlives it. What was there before keeps its times.
  ClockedStorage(Storage& inner, base::Time now) : inner_(inner), state_(State{now, {}}) {}

  void set(base::Time now) { state_.lock()->now = now; }
  void pass(base::Duration time) { state_.lock()->now += time; }
  base::Time now() { return state_.lock()->now; }

  PutResult put(std::string_view name, base::ByteView content, Use use = Use::kMetadata) override {
    const PutResult result = inner_.put(name, content, use);
    auto state = state_.lock();
    state->now += base::Duration(1);  // no two puts at one moment
    if (result == PutResult::kCreated) state->put.insert_or_assign(std::string(name), state->now);
    return result;
  }
  std::optional<base::Bytes> get(std::string_view name, std::uint64_t max_size_bytes) override {
    return inner_.get(name, max_size_bytes);
  }
  std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                  base::MutableByteView buffer) override {
    return inner_.read(name, offset, buffer);
  }
  std::optional<ObjectInfo> stat(std::string_view name) override {
    auto info = inner_.stat(name);
    if (info) correct(*info);
    return info;
  }
  void list(std::string_view prefix, const std::function<void(const ObjectInfo&)>& each) override {
    inner_.list(prefix, [&](ObjectInfo info) {
      correct(info);
      each(info);
    });
  }
  bool remove(std::string_view name) override { return inner_.remove(name); }
  std::string describe() const override { return inner_.describe(); }

 private:
  struct State {
    base::Time now;
    std::map<std::string, base::Time, std::less<>> put;
  };

  void correct(ObjectInfo& info) {
    auto state = state_.lock();
    const auto time = state->put.find(info.name);
    if (time != state->put.end()) info.modified = time->second;
  }

  Storage& inner_;
  base::Guarded<State> state_;
};

}  // namespace holdfast::storage
