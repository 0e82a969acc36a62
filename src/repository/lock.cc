#include "repository/lock.h"

#include <fmt/format.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <stop_token>
#include <thread>

#include "base/concurrency.h"
#include "base/error.h"
#include "repository/lock_holder.h"
#include "repository/sealed_object.h"

namespace holdfast::repository {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::string_view kPrefix = "locks/";
constexpr std::chrono::minutes kExpiry{30};
constexpr int kMaxListings = 50;  // two are the rule

[[noreturn]] void locked_by(const LockHolder& other, const ProcessIdentity& self) {
  const std::string scope = other.scope.empty() ? "" : " of " + other.scope;
  const std::string message = fmt::format("locked by a {}{}: {} (process {} on {}), since {}",
                                          other.kind, scope, other.command, other.process.pid,
                                          other.process.host, base::format_time(other.taken));
  const bool here = other.process.host == self.host && other.process.boot_id == self.boot_id &&
                    other.process.pid_namespace == self.pid_namespace;
  throw Error(ErrorKind::kLocked, message,
              here ? "Wait until it has ended."
                   : fmt::format("Wait until it has ended. Should it be gone: its lock expires 30 "
                                 "minutes after its last heartbeat, which was at {}.",
                                 base::format_time(other.heartbeat)));
}

[[noreturn]] void locked_by_damaged(const std::string& name) {
  throw Error(ErrorKind::kLocked, fmt::format("{} is damaged, and may be a running backup's", name),
              "It is removed once it is 30 minutes old. Where nothing else is at work on this "
              "repository, remove that object and try again.");
}

}  // namespace

struct Lock::Impl {
  Impl(const Context& the_context, const LockRequest& request)
      : context(the_context), interval(request.heartbeat_interval) {
    self.kind = request.kind;
    self.scope = request.exclusive_in_repository ? std::string() : request.scope;
    self.exclusive = request.exclusive_in_repository || request.exclusive_in_scope;
    self.process = ProcessIdentity::of_this_process();
    self.taken = context.clock.now();
    self.command = request.command;
  }

  ~Impl() {
    heartbeat.request_stop();
    if (heartbeat.joinable()) heartbeat.join();
    for (const std::string& name : own_names) {
      try {
        context.storage.remove(name);
      } catch (const std::exception&) {
        // Others find that this process has ended, or that the heartbeat has.
      }
    }
  }

  // Puts the lock under a new name.
  void put() {
    self.heartbeat = context.clock.now();
    const std::string name = std::string(kPrefix) + LockId::make(context.random).hex();
    own_names.push_back(name);  // before the put: one whose answer was lost is removed too
    if (put_metadata(context, name, MetadataKind::kLock, encode_lock(self)) ==
        storage::PutResult::kExists) {
      throw Error(ErrorKind::kFailed, fmt::format("{} exists already", name));
    }
    present = name;
  }

  // Calls `judge` with every lock in storage but the own one, and with the storage's time; gives
  // those that are there at the end.
  template <typename Judge>
  std::set<std::string> survey(Judge judge);
  void refuse_conflicts();
  bool bears(const storage::ObjectInfo& other, base::Time store_now);
  std::optional<HeldLock> held(const storage::ObjectInfo& other, base::Time store_now);
  void beat();
  void run_heartbeat(const std::stop_token& stop);

  const Context context;  // a copy: it names what outlives the lock
  const std::chrono::milliseconds interval;
  LockHolder self;
  std::string present;                 // the lock's name
  std::vector<std::string> own_names;  // and those of its objects that are to be removed
  bool lost = false;                   // another run has removed it
  std::mutex renewing;                 // guards the three, once the heartbeat has begun
  base::Guarded<std::string> problem;
  std::jthread heartbeat;
};

// A lock that is being renewed may escape one listing (the old object is removed while the new one
// is behind the cursor), but not the next: so two listings in a row must agree.
template <typename Judge>
std::set<std::string> Lock::Impl::survey(Judge judge) {
  std::set<std::string> previous;
  for (int i = 0; i < kMaxListings; ++i) {
    std::vector<storage::ObjectInfo> others;
    std::set<std::string> names;
    std::optional<base::Time> store_now;
    context.storage.list(kPrefix, [&](const storage::ObjectInfo& object) {
      names.insert(object.name);
      if (object.name == present) {
        store_now = object.modified;  // the store's own clock: no other is to be trusted here
      } else {
        others.push_back(object);
      }
    });
    if (!store_now) {
      throw Error(ErrorKind::kUnavailable, fmt::format("{} was put and is not listed", present));
    }
    if (!self.since) self.since = store_now;
    if (names == previous) return names;
    previous = std::move(names);
    for (const storage::ObjectInfo& other : others) judge(other, *store_now);
  }
  throw Error(ErrorKind::kLocked, "other runs take and release locks all the time",
              "Try again in a moment.");
}

// Called with the own lock in place, so that of two takers at least one sees the other.
void Lock::Impl::refuse_conflicts() {
  std::set<std::string> borne;
  survey([&](const storage::ObjectInfo& other, base::Time store_now) {
    if (!borne.contains(other.name) && bears(other, store_now)) borne.insert(other.name);
  });
}

// Nullopt: it is gone, or of a process that is.
std::optional<HeldLock> Lock::Impl::held(const storage::ObjectInfo& other, base::Time store_now) {
  if (store_now - other.modified > kExpiry) return std::nullopt;
  try {
    const auto body = get_metadata(context, other.name, MetadataKind::kLock);
    if (!body) return std::nullopt;
    const LockHolder holder = decode_lock(*body);
    if (has_ended(holder.process, self.process)) return std::nullopt;
    return HeldLock{holder.kind, holder.since.value_or(other.modified)};
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kDamaged) throw;
    return HeldLock{};
  }
}

// False: it is gone, or was removed here because nobody holds it any more. Throws kLocked.
bool Lock::Impl::bears(const storage::ObjectInfo& other, base::Time store_now) {
  const bool expired = store_now - other.modified > kExpiry;
  std::optional<LockHolder> holder;
  try {
    const auto body = get_metadata(context, other.name, MetadataKind::kLock);
    if (!body) return false;
    holder = decode_lock(*body);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kDamaged) throw;
  }
  if (expired || (holder && has_ended(holder->process, self.process))) {
    context.storage.remove(other.name);
    return false;
  }
  if (!holder) locked_by_damaged(other.name);
  if (conflict(*holder, self)) locked_by(*holder, self.process);
  return true;
}

void Lock::Impl::beat() {
  const std::lock_guard guard(renewing);
  std::string trouble;
  try {
    const std::string before = present;
    const std::vector<std::string> old_names = own_names;
    put();
    for (const std::string& name : old_names) {
      if (!context.storage.remove(name) && name == before) lost = true;
      std::erase(own_names, name);
    }
  } catch (const std::exception& error) {
    trouble = fmt::format("the lock could not be renewed: {}", error.what());
  }
  if (lost) trouble = "another run has removed the lock, which it took to be of a run that is gone";
  *problem.lock() = std::move(trouble);
}

void Lock::Impl::run_heartbeat(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  while (!stopped.wait_for(lock, stop, interval, [&] { return stop.stop_requested(); })) beat();
}

Lock::Lock(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Lock::~Lock() = default;

std::string Lock::problem() const { return *impl_->problem.lock(); }

bool Lock::is_held() const {
  const std::lock_guard guard(impl_->renewing);
  return !impl_->lost && impl_->context.storage.stat(impl_->present).has_value();
}

base::Time Lock::since() const { return *impl_->self.since; }

std::vector<HeldLock> Lock::others() const {
  const std::lock_guard guard(impl_->renewing);
  std::map<std::string, std::optional<HeldLock>> judged;
  const std::set<std::string> there =
      impl_->survey([&](const storage::ObjectInfo& other, base::Time store_now) {
        if (!judged.contains(other.name)) judged[other.name] = impl_->held(other, store_now);
      });
  std::vector<HeldLock> held;
  for (const auto& [name, lock] : judged) {
    if (lock && there.contains(name)) held.push_back(*lock);
  }
  return held;
}

std::unique_ptr<Lock> Lock::take(const Context& context, const LockRequest& request) {
  auto impl = std::make_unique<Impl>(context, request);
  impl->put();
  impl->refuse_conflicts();
  Impl* shared = impl.get();
  impl->heartbeat = std::jthread([shared](std::stop_token stop) { shared->run_heartbeat(stop); });
  return std::unique_ptr<Lock>(new Lock(std::move(impl)));
}

}  // namespace holdfast::repository
