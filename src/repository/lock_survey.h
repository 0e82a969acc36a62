// Whose locks are there, and whether they count. Internal to this folder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "repository/lock_holder.h"
#include "repository/repository.h"

namespace holdfast::repository {

inline constexpr std::string_view kLockPrefix = "locks/";

// "locks/RUN" and a number that grows with each heartbeat, so that a lock that is being renewed is
// never behind the cursor of a listing by name. `run`: 16 digits.
std::string lock_name(std::string_view run, std::uint64_t number);
std::string new_run(crypto::Random& random);

struct OtherLock {
  storage::ObjectInfo newest;        // of its objects
  std::vector<std::string> objects;  // all of them
  std::optional<LockHolder> holder;  // none: it is damaged, or too old to be asked for
  bool held = false;                 // false: it has ended, or expired
};

struct LockSurvey {
  base::Time now;  // when the own lock's newest object was put, by the storage's clock
  std::vector<OtherLock> others;
};

// All locks but the own one, `present`, which must be there.
LockSurvey survey_locks(const Context& context, const std::string& present,
                        const ProcessIdentity& self);

}  // namespace holdfast::repository
