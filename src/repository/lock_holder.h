// Who holds a lock: the body of `locks/ID` in docs/format.md, and whether that process is still
// there.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/time.h"

namespace holdfast::repository {

struct ProcessIdentity {
  std::string host;
  std::string boot_id;        // of the running system
  std::string pid_namespace;  // containers of one host count their processes apart
  pid_t pid = 0;
  std::uint64_t pid_started = 0;  // clock ticks after boot: a pid is given again

  static ProcessIdentity of_this_process();
};

// Of a lock that does not say its own, and of one that cannot be read. None expires later.
inline constexpr std::chrono::minutes kLongestExpiry{30};

struct LockHolder {
  std::string kind;
  std::string scope;  // empty: the whole repository
  bool exclusive = false;
  ProcessIdentity process;
  base::Time taken;
  base::Time heartbeat;
  std::string command;
  // When it was taken, by the storage's clock. None in the first object of a lock: it is that
  // object's own time.
  std::optional<base::Time> since;
  std::chrono::milliseconds expiry = kLongestExpiry;  // without a heartbeat
  std::uint64_t fence = 0;  // the number of an exclusive one in its scope; 0: it has none
  bool ended = false;       // given back by one that may not remove it
};

base::Bytes encode_lock(const LockHolder& holder);
LockHolder decode_lock(base::ByteView body);  // kDamaged

// Exclusive ones of one scope do not bear each other, and one that is exclusive in the whole
// repository bears none.
bool conflict(const LockHolder& a, const LockHolder& b);

// True only where it is certain: a process of this host, boot and namespace that has ended.
bool has_ended(const ProcessIdentity& process, const ProcessIdentity& self);

}  // namespace holdfast::repository
