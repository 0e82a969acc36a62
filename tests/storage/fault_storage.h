// A storage that fails when it is told to. The fault matrix: run with faults.arm({.at = n}) for
// n = 1, 2, ... until faults.fired() is false after a run.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/concurrency.h"
#include "base/error.h"
#include "storage/operation.h"
#include "storage/storage.h"

namespace holdfast::storage {

struct FaultPlan {
  // Which operation fails: the n-th of those that count, from 1. 0: none, they are counted only.
  std::size_t at = 0;
  // False: it fails before it has any effect. True: it takes effect, and the answer is lost.
  bool after_effect = false;
  // All later operations (of any kind, on any name) fail too, without effect: what a killed process
  // or a dead link leaves.
  bool from_then_on = false;
  base::ErrorKind kind = base::ErrorKind::kUnavailable;
  // What counts; empty: every operation, every name.
  std::set<Operation> operations = {};
  std::string name_prefix = {};
};

// Says when to fail, and outlives the storages that ask it. Thread-safe.
class Faults {
 public:
  enum class Verdict { kPass, kFailBefore, kFailAfter };

  // Counts from zero again.
  void arm(FaultPlan plan) { *state_.lock() = State{.plan = std::move(plan)}; }
  void disarm() { arm({}); }

  std::size_t count() { return state_.lock()->count; }
  bool fired() { return state_.lock()->fired; }

  Verdict next(Operation operation, std::string_view name) {
    auto state = state_.lock();
    const FaultPlan& plan = state->plan;
    if (state->fired && plan.from_then_on) return Verdict::kFailBefore;
    if (!plan.operations.empty() && !plan.operations.contains(operation)) return Verdict::kPass;
    if (!name.starts_with(plan.name_prefix)) return Verdict::kPass;
    if (++state->count != plan.at) return Verdict::kPass;
    state->fired = true;
    return plan.after_effect ? Verdict::kFailAfter : Verdict::kFailBefore;
  }

  [[noreturn]] void fail(Operation operation, std::string_view name) {
    throw base::Error(state_.lock()->plan.kind,
                      fmt::format("injected fault: {} {}", name_of(operation), name));
  }

 private:
  struct State {
    FaultPlan plan = {};
    std::size_t count = 0;
    bool fired = false;
  };
  base::Guarded<State> state_;
};

class FaultStorage final : public Storage {
 public:
  // Both outlive it.
  FaultStorage(Storage& inner, Faults& faults) : inner_(inner), faults_(faults) {}

  PutResult put(std::string_view name, base::ByteView content, Use use = Use::kMetadata) override {
    return run(Operation::kPut, name, [&] { return inner_.put(name, content, use); });
  }
  std::optional<base::Bytes> get(std::string_view name, std::uint64_t max_size_bytes) override {
    return run(Operation::kGet, name, [&] { return inner_.get(name, max_size_bytes); });
  }
  std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                  base::MutableByteView buffer) override {
    return run(Operation::kRead, name, [&] { return inner_.read(name, offset, buffer); });
  }
  std::optional<ObjectInfo> stat(std::string_view name) override {
    return run(Operation::kStat, name, [&] { return inner_.stat(name); });
  }
  void list(std::string_view prefix, const std::function<void(const ObjectInfo&)>& each) override {
    run(Operation::kList, prefix, [&] { inner_.list(prefix, each); });
  }
  bool remove(std::string_view name) override {
    return run(Operation::kRemove, name, [&] { return inner_.remove(name); });
  }
  std::string describe() const override { return inner_.describe(); }

 private:
  template <typename Body>
  std::invoke_result_t<Body> run(Operation operation, std::string_view name, Body body) {
    const Faults::Verdict verdict = faults_.next(operation, name);
    if (verdict == Faults::Verdict::kFailBefore) faults_.fail(operation, name);
    if (verdict == Faults::Verdict::kFailAfter) {
      body();
      faults_.fail(operation, name);
    }
    return body();
  }

  Storage& inner_;
  Faults& faults_;
};

}  // namespace holdfast::storage
