// Who is at work. Shared locks bear each other unless they are of the same exclusive scope; a lock
// of a process that is gone (same host and boot: looked up; else: no heartbeat for 30 minutes) is
// removed. A damaged lock counts as held, by everyone, until it is as old.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "repository/repository.h"

namespace holdfast::repository {

struct LockRequest {
  std::string kind = {};                 // "backup", "restore", …
  std::string scope = {};                // a component; empty: the whole repository
  bool exclusive_in_repository = false;  // bears no other lock
  bool exclusive_in_scope = false;       // a backup: one for each component
  std::string command = {};              // for messages
  std::chrono::milliseconds heartbeat_interval{60'000};
};

struct HeldLock {
  std::string kind;  // empty: it is damaged, and may be anyone's
  // When it was taken, by the storage's clock; long ago where that is not known.
  base::Time since;
};

// Held while it lives; a thread of its own renews the heartbeat every minute (the new lock object
// is put before the old one is removed).
class Lock {
 public:
  // kLocked, naming the other's host, pid, command and since when.
  static std::unique_ptr<Lock> take(const Context& context, const LockRequest& request);
  ~Lock();
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

  // Why the last heartbeat failed, or that another run removed the lock; empty while all is well. A
  // failing heartbeat ends nothing: it is tried again, and the work's end is the time to tell of
  // it.
  std::string problem() const;

  // Whether the lock still stands in storage: no other run took this one for gone.
  bool is_held() const;
  // When it was taken, by the storage's clock.
  base::Time since() const;
  // All locks but this one that count as held, those of any kind and scope.
  std::vector<HeldLock> others() const;

 private:
  struct Impl;
  explicit Lock(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::repository
