#include "repository/lock.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/parallel.h"
#include "repository/fence.h"
#include "repository/lock_survey.h"
#include "repository/sealed_object.h"

namespace holdfast::repository {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::string_view kRemoved =
    "another run has removed the lock, which it took to be of a run that is gone";
constexpr std::string_view kNotRenewed =
    "the lock was not renewed in time, so that others may have taken this run for gone";
constexpr std::string_view kPassed = "another run has taken over";

// Of this machine, and on while it sleeps.
std::chrono::nanoseconds running_time() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

[[noreturn]] void locked_by(const LockHolder& other, const ProcessIdentity& self) {
  const std::string scope = other.scope.empty() ? "" : " of " + other.scope;
  const std::string message = fmt::format("locked by a {}{}: {} (process {} on {}), since {}",
                                          other.kind, scope, other.command, other.process.pid,
                                          other.process.host, base::format_time(other.taken));
  const bool here = other.process.host == self.host && other.process.boot_id == self.boot_id &&
                    other.process.pid_namespace == self.pid_namespace;
  throw Error(
      ErrorKind::kLocked, message,
      here ? "Wait until it has ended."
           : fmt::format("Wait until it has ended. Should it be gone: its lock expires {} "
                         "after its last heartbeat, which was at {} by that host's clock.",
                         base::format_duration(other.expiry), base::format_time(other.heartbeat)));
}

[[noreturn]] void locked_by_damaged(const std::string& name) {
  throw Error(ErrorKind::kLocked, fmt::format("{} is damaged, and may be a running backup's", name),
              "It is removed once it is 30 minutes old. Where nothing else is at work on this "
              "repository, remove that object and try again.");
}

[[noreturn]] void lost(std::string_view why) {
  throw Error(ErrorKind::kLocked, fmt::format("{}; this one stops before it does harm", why),
              "Run it again: what was done stays.");
}

}  // namespace

struct Lock::Impl {
  Impl(const Context& the_context, const LockRequest& the_request)
      : context(the_context), request(the_request), run(new_run(context.random)) {
    self.kind = request.kind;
    self.scope = request.exclusive_in_repository ? std::string() : request.scope;
    self.exclusive = request.exclusive_in_repository || request.exclusive_in_scope;
    self.process = request.process ? *request.process : ProcessIdentity::of_this_process();
    self.taken = context.clock.now();
    self.command = request.command;
    self.expiry = std::min<std::chrono::milliseconds>(request.expiry, kLongestExpiry);
  }

  ~Impl() { release(); }

  // Others count to the expiry from when an object was put; their listing takes a while too.
  std::chrono::milliseconds in_time() const { return self.expiry * 4 / 5; }

  void put();
  void refuse_conflicts();
  void take_fence();
  void beat();
  void renew();
  void remove(const std::vector<std::string>& names);
  void note_lapse();
  void ask_for_newer();
  std::string release();
  std::string give_back();
  void run_heartbeat(const std::stop_token& stop);

  const Context context;  // a copy: it names what outlives the lock
  const LockRequest request;
  const std::string run;
  std::vector<std::string> passed_fences;

  std::mutex renewing;  // guards what follows, once the heartbeat has begun
  LockHolder self;
  std::uint64_t next = 0;                 // number of the next object
  std::string present;                    // the lock's name
  base::Time present_since;               // by the storage's clock
  std::chrono::nanoseconds renewed{};     // when the put of it began
  std::chrono::nanoseconds asked{};       // for newer ones
  std::vector<std::string> own_names;     // objects that are to be removed
  bool may_remove = true;                 // false: the credential has not the right
  bool passed = false;                    // another run has taken over
  std::string_view problem_that_remains;  // why it may have been taken for gone

  base::Guarded<std::string> problem;
  std::jthread heartbeat;
};

// Puts the lock under a new name.
void Lock::Impl::put() {
  self.heartbeat = context.clock.now();
  const auto begun = running_time();
  const std::string name = lock_name(run, next++);
  own_names.push_back(name);  // before the put: one whose answer was lost is removed too
  put_metadata(context, name, MetadataKind::kLock, encode_lock(self));
  if (!present.empty()) note_lapse();
  present = name;
  renewed = begun;
}

// Called with the own lock in place, so that of two takers at least one sees the other.
void Lock::Impl::refuse_conflicts() {
  const LockSurvey survey = survey_locks(context, present, self.process);
  self.since = present_since = survey.now;
  std::vector<std::string> dead;
  for (const OtherLock& other : survey.others) {
    if (!other.held) {
      dead.insert(dead.end(), other.objects.begin(), other.objects.end());
    } else if (!other.holder) {
      locked_by_damaged(other.newest.name);
    } else if (conflict(*other.holder, self)) {
      locked_by(*other.holder, self.process);
    }
  }
  remove(dead);
}

// The number was chosen before the lock was put: one that slept between its look at the locks and
// here finds that it is taken, or that a higher one is there.
void Lock::Impl::take_fence() {
  if (!self.exclusive) return;
  Fences fences;
  if (put_fence(context, self.scope, self.fence, run)) fences = list_fences(context, self.scope);
  if (fences.highest != self.fence) {
    throw Error(
        ErrorKind::kLocked,
        fmt::format("another {} began at the same moment", self.kind.empty() ? "run" : self.kind),
        "Try again in a moment.");
  }
  passed_fences = std::move(fences.passed);
  asked = running_time();
}

void Lock::Impl::remove(const std::vector<std::string>& names) {
  if (names.empty() || !may_remove) return;
  try {
    context.storage.remove_all(names);
  } catch (const Error& error) {
    if (!is_refusal(error)) throw;
    may_remove = false;
  }
}

void Lock::Impl::note_lapse() {
  if (running_time() - renewed > in_time()) problem_that_remains = kNotRenewed;
}

// The listing shows whether the old object has stood until the new one was there, and how long by
// the clock that others go by: a machine that is halted from outside has no clock that runs on.
void Lock::Impl::renew() {
  const std::string before = present;
  const std::vector<std::string> old_names = own_names;
  put();
  bool stood = false;
  std::optional<base::Time> put_at;
  context.storage.list(kLockPrefix, [&](const storage::ObjectInfo& object) {
    if (object.name == before) stood = true;
    if (object.name == present) put_at = object.modified;
  });
  if (put_at && *put_at - present_since > in_time()) problem_that_remains = kNotRenewed;
  if (!stood) problem_that_remains = kRemoved;
  if (put_at) present_since = *put_at;
  remove(old_names);
  own_names = {present};  // where it may not be removed, what is older expires
}

void Lock::Impl::beat() {
  const std::lock_guard guard(renewing);
  std::string trouble;
  try {
    renew();
  } catch (const std::exception& error) {
    trouble = fmt::format("the lock could not be renewed: {}", error.what());
    note_lapse();
  }
  if (!problem_that_remains.empty()) trouble = problem_that_remains;
  *problem.lock() = std::move(trouble);
}

void Lock::Impl::run_heartbeat(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  while (!stopped.wait_for(lock, stop, request.heartbeat_interval,
                           [&] { return stop.stop_requested(); })) {
    beat();
  }
}

void Lock::Impl::ask_for_newer() {
  if (passed) lost(kPassed);
  if (!self.exclusive) return;
  const auto begun = running_time();
  passed = list_fences(context, self.scope).highest > self.fence;
  if (passed) lost(kPassed);
  asked = begun;
}

// Nothing that goes wrong here makes the work undone: others find that this process has ended, or
// that the heartbeat has.
std::string Lock::Impl::release() {
  heartbeat.request_stop();
  if (heartbeat.joinable()) heartbeat.join();
  try {
    return give_back();
  } catch (const std::exception& error) {
    return {};
  }
}

std::string Lock::Impl::give_back() {
  std::vector<std::string> names = std::exchange(own_names, {});
  if (names.empty()) return {};
  names.insert(names.end(), passed_fences.begin(), passed_fences.end());
  try {
    remove(names);
  } catch (const std::exception& error) {
    return fmt::format("the lock could not be removed, and expires: {}", error.what());
  }
  if (may_remove) return {};
  self.ended = true;
  put_metadata(context, lock_name(run, next++), MetadataKind::kLock, encode_lock(self));
  return "the lock was marked as ended: the storage does not let this credential remove it";
}

Lock::Lock(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Lock::~Lock() = default;

std::string Lock::problem() const { return *impl_->problem.lock(); }

bool Lock::is_held() const {
  const std::lock_guard guard(impl_->renewing);
  impl_->note_lapse();
  return impl_->problem_that_remains.empty() &&
         impl_->context.storage.stat(impl_->present).has_value();
}

void Lock::require_newest() const {
  const std::lock_guard guard(impl_->renewing);
  impl_->ask_for_newer();
}

void Lock::require() const {
  const std::lock_guard guard(impl_->renewing);
  if (running_time() - impl_->asked >= impl_->request.ask_again) impl_->ask_for_newer();
  impl_->note_lapse();
  if (!impl_->problem_that_remains.empty()) lost(impl_->problem_that_remains);
}

base::Time Lock::since() const {
  const std::lock_guard guard(impl_->renewing);
  return *impl_->self.since;
}

std::vector<HeldLock> Lock::others() const {
  const std::lock_guard guard(impl_->renewing);
  std::vector<HeldLock> held;
  for (const OtherLock& other :
       survey_locks(impl_->context, impl_->present, impl_->self.process).others) {
    if (!other.held) continue;
    held.push_back(other.holder ? HeldLock{other.holder->kind,
                                           other.holder->since.value_or(other.newest.modified)}
                                : HeldLock{});
  }
  return held;
}

std::string Lock::release() { return impl_->release(); }

std::unique_ptr<Lock> Lock::take(const Context& context, const LockRequest& request,
                                 const std::function<void()>& meanwhile) {
  auto impl = std::make_unique<Impl>(context, request);
  Impl& lock = *impl;
  if (lock.self.exclusive) {
    lock.self.fence = list_fences(context, lock.self.scope).highest + 1;
  }
  lock.put();
  base::share_out(2, std::min(2, context.storage.requests_at_once()), {}, [&] {
    return [&](std::size_t n) {
      if (n == 0) {
        lock.refuse_conflicts();
        lock.take_fence();
      } else if (meanwhile) {
        meanwhile();
      }
    };
  });
  lock.note_lapse();
  if (!lock.problem_that_remains.empty()) {
    throw Error(ErrorKind::kUnavailable, "the storage is so slow that a lock expires meanwhile",
                "See what slows it down, and try again.");
  }
  lock.heartbeat = std::jthread([&lock](std::stop_token stop) { lock.run_heartbeat(stop); });
  return std::unique_ptr<Lock>(new Lock(std::move(impl)));
}

}  // namespace holdfast::repository
