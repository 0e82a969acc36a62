#include "repository/lock_survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "repository/ids.h"
#include "repository/sealed_object.h"

namespace holdfast::repository {
namespace {

using base::Error;
using base::ErrorKind;

constexpr int kMaxListings = 50;  // two are the rule
constexpr std::size_t kRunDigits = 16;
constexpr std::size_t kNameSize = kLockPrefix.size() + 2 * kRunDigits;

// The part of a lock's name that heartbeats leave as it is.
std::string key_of(const std::string& name) {
  return name.size() == kNameSize ? name.substr(0, kLockPrefix.size() + kRunDigits) : name;
}

class Survey {
 public:
  Survey(const Context& context, const std::string& present, const ProcessIdentity& self)
      : context_(context), present_(present), self_(self) {}

  // A directory's listing may miss a lock that is being renewed, but not twice: so two listings in
  // a row must name the same runs.
  LockSurvey run() {
    for (int i = 0; i < kMaxListings; ++i) {
      const std::vector<std::string> before = keys();
      list();
      const bool all = judge();
      if (i > 0 && all && keys() == before) return result();
    }
    throw Error(ErrorKind::kLocked, "other runs take and release locks all the time",
                "Try again in a moment.");
  }

 private:
  void list() {
    std::map<std::string, OtherLock> listed;
    bool found = false;
    context_.storage.list(kLockPrefix, [&](const storage::ObjectInfo& object) {
      if (object.name == present_) {
        now_ = object.modified;  // the store's own clock: no other is to be trusted here
        found = true;
      }
      const std::string key = key_of(object.name);
      if (key == key_of(present_)) return;
      OtherLock& other = listed[key];
      other.objects.push_back(object.name);
      other.newest = object;  // they come sorted
    });
    if (!found) {
      throw Error(ErrorKind::kLocked,
                  fmt::format("{} is not listed: another run has removed it, which took this one "
                              "for gone",
                              present_),
                  "Run it again.");
    }
    for (auto& [key, other] : listed) {
      const auto known = locks_.find(key);
      if (known == locks_.end() || known->second.newest.name != other.newest.name) continue;
      other.holder = known->second.holder;
      other.held = known->second.held;
    }
    locks_ = std::move(listed);
  }

  // False where one was gone or renewed meanwhile: it must be looked for again.
  bool judge() {
    bool all = true;
    for (auto& [key, other] : locks_) {
      if (judged_.contains(other.newest.name)) continue;
      if (judge(other)) {
        judged_.insert(other.newest.name);
      } else {
        all = false;
      }
    }
    return all;
  }

  bool judge(OtherLock& other) const {
    const base::Duration age = now_ - other.newest.modified;
    if (age > kLongestExpiry) return true;
    try {
      const auto body = get_metadata(context_, other.newest.name, MetadataKind::kLock);
      if (!body) return false;
      other.holder = decode_lock(*body);
      other.held = !other.holder->ended && age <= other.holder->expiry &&
                   !has_ended(other.holder->process, self_);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kDamaged) throw;
      other.held = true;  // it may be anyone's
    }
    return true;
  }

  std::vector<std::string> keys() const {
    std::vector<std::string> keys;
    for (const auto& [key, other] : locks_) keys.push_back(key);
    return keys;
  }

  LockSurvey result() {
    LockSurvey survey{.now = now_, .others = {}};
    for (auto& [key, other] : locks_) survey.others.push_back(std::move(other));
    return survey;
  }

  const Context& context_;
  const std::string& present_;
  const ProcessIdentity& self_;
  base::Time now_;
  std::map<std::string, OtherLock> locks_;
  std::set<std::string> judged_;  // names of newest objects
};

}  // namespace

std::string lock_name(std::string_view run, std::uint64_t number) {
  return fmt::format("{}{}{:016x}", kLockPrefix, run, number);
}

std::string new_run(crypto::Random& random) {
  return LockId::make(random).hex().substr(0, kRunDigits);
}

LockSurvey survey_locks(const Context& context, const std::string& present,
                        const ProcessIdentity& self) {
  return Survey(context, present, self).run();
}

}  // namespace holdfast::repository
