// Who is at work. Shared locks bear each other unless they are of the same exclusive scope. A lock
// is a lease: one that has not been renewed for its expiry, or whose process is gone (same host and
// boot: looked up), no longer counts, and whoever finds it removes it. Ages are by the storage's
// clock. A damaged lock counts as held, by everyone, for 30 minutes.
//
// Who could not renew its lease may wake and not know that another has taken over. So an exclusive
// lock has a fencing number, and its holder asks, with require(), before it does what another's
// work would not bear. docs/architecture.md, "Locks".
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "repository/lock_holder.h"
#include "repository/repository.h"

namespace holdfast::repository {

struct LockRequest {
  std::string kind = {};                 // "backup", "restore", …
  std::string scope = {};                // a component; empty: the whole repository
  bool exclusive_in_repository = false;  // bears no other lock
  bool exclusive_in_scope = false;       // a backup: one for each component
  std::string command = {};              // for messages
  std::chrono::milliseconds heartbeat_interval{20'000};
  std::chrono::milliseconds expiry{300'000};   // at most kLongestExpiry
  std::chrono::milliseconds ask_again{2'000};  // how long an answer to require() holds
  std::optional<ProcessIdentity> process{};    // this one, where it is not given
};

struct HeldLock {
  std::string kind;  // empty: it is damaged, and may be anyone's
  // When it was taken, by the storage's clock; long ago where that is not known.
  base::Time since;
};

// Held while it lives; a thread of its own renews it (the new lock object is put before the old one
// is removed). Thread-safe.
class Lock {
 public:
  // kLocked, naming the other's host, pid, command and since when.
  // `meanwhile`: what may begin as soon as the lock stands, though it may still be refused; far
  // away it runs beside the look at the others.
  static std::unique_ptr<Lock> take(const Context& context, const LockRequest& request,
                                    const std::function<void()>& meanwhile = {});
  ~Lock();
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

  // Why the last heartbeat failed, or why the lock is lost; empty while all is well. A failing
  // heartbeat ends nothing: it is tried again, and the work's end is the time to tell of it.
  std::string problem() const;

  // Whether nobody has taken this lock for gone since it was taken: it has been renewed in time,
  // four fifths of its expiry, and still stands in storage.
  bool is_held() const;
  // kLocked where another run has taken the same scope since. Asks the storage.
  void require_newest() const;
  // The same, and kLocked where it has not been renewed in time. Cheap enough for every step: it
  // asks the storage every few seconds.
  void require() const;

  // When it was taken, by the storage's clock.
  base::Time since() const;
  // All locks but this one that count as held, those of any kind and scope.
  std::vector<HeldLock> others() const;

  // Gives it back, as the destructor does; says what the user may want to know of it, if anything.
  std::string release();

 private:
  struct Impl;
  explicit Lock(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::repository
