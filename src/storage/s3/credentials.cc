#include "storage/s3/credentials.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/concurrency.h"
#include "base/error.h"
#include "storage/s3/credential_places.h"

namespace holdfast::storage::s3 {
namespace {

using base::Error;
using base::ErrorKind;
using base::Time;
using Shared = std::shared_ptr<const Credentials>;

constexpr std::chrono::minutes kRenewBefore{10};  // metadata services have new ones 5 before
constexpr std::chrono::seconds kTryAgainAfter{30};
constexpr std::chrono::seconds kFailureCounts{1};  // for those who waited for the same fetch

// The places in their order, and the one that had credentials: it is asked for all later ones.
class Chain {
 public:
  explicit Chain(std::vector<std::unique_ptr<CredentialPlace>> places)
      : places_(std::move(places)) {}

  Credentials fetch() {
    if (found_ != nullptr) return from(*found_);
    std::string looked;
    for (const auto& place : places_) {
      Lookup lookup = place->look();
      if (lookup.credentials) {
        found_ = place.get();
        return std::move(*lookup.credentials);
      }
      looked += (looked.empty() ? "" : "; ") + lookup.why_not;
    }
    throw Error(ErrorKind::kConfig,
                fmt::format("there are no credentials for the object store ({})", looked),
                "give the repository `credentials: {file: PATH}`, or set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY");
  }
  const CredentialPlace* found() const { return found_; }

 private:
  static Credentials from(CredentialPlace& place) {
    Lookup lookup = place.look();
    if (lookup.credentials) return std::move(*lookup.credentials);
    throw Error(ErrorKind::kConfig, fmt::format("{} had credentials and has them no longer: {}",
                                                place.describe(), lookup.why_not));
  }

  std::vector<std::unique_ptr<CredentialPlace>> places_;
  CredentialPlace* found_ = nullptr;
};

// What is held, and how far it is good. Times are the clock's.
struct Held {
  Shared credentials;
  Time fetched;
  Time renew_at;      // from then on one caller tries to renew them
  Time usable_until;  // from then on nobody gets them
  bool refused = false;
  bool renewing = false;
  std::optional<Error> failure;  // of the last fetch
  Time failed_at;
  std::string place;
  bool can_change = true;

  bool usable(Time now) const { return credentials && !refused && now < usable_until; }
};

class ChainSource final : public CredentialSource {
 public:
  ChainSource(std::vector<std::unique_ptr<CredentialPlace>> places, const base::Clock& clock)
      : clock_(clock), chain_(std::move(places)) {}

  Shared current() override {
    if (Shared held = take_or_renew()) return held;
    auto chain = chain_.lock();  // one fetch at a time; `held_` is free meanwhile
    if (Shared held = fetched_meanwhile()) return held;
    return fetch(*chain);
  }

  bool refused(const Credentials& credentials) override {
    const Time now = clock_.now();
    auto held = held_.lock();
    if (!held->credentials) return true;
    if (!same(*held->credentials, credentials)) return true;  // others are there already
    if (!held->can_change || now - held->fetched < kTryAgainAfter) return false;
    held->refused = true;
    return true;
  }

  std::string describe() const override {
    const std::string place = held_.lock()->place;
    return place.empty() ? "the usual places of AWS credentials" : place;
  }

 private:
  static bool same(const Credentials& a, const Credentials& b) {
    return a.access_key == b.access_key && a.secret_key.view() == b.secret_key.view() &&
           a.session_token.view() == b.session_token.view();
  }

  // Null: the caller is the one to fetch, or nothing that is usable is there.
  Shared take_or_renew() {
    const Time now = clock_.now();
    auto held = held_.lock();
    if (!held->usable(now)) return nullptr;
    if (now < held->renew_at || held->renewing) return held->credentials;
    held->renewing = true;
    return nullptr;
  }

  Shared fetched_meanwhile() {
    const Time now = clock_.now();
    auto held = held_.lock();
    if (held->usable(now) && now < held->renew_at) {
      held->renewing = false;
      return held->credentials;
    }
    if (held->failure && now - held->failed_at < kFailureCounts) {
      held->renewing = false;
      throw *held->failure;
    }
    return nullptr;
  }

  Shared fetch(Chain& chain) {
    try {
      Credentials fetched = chain.fetch();
      return hold(std::move(fetched), *chain.found());
    } catch (const Error& error) {
      const Time now = clock_.now();
      auto held = held_.lock();
      held->renewing = false;
      if (held->usable(now)) {
        held->renew_at = now + kTryAgainAfter;
        return held->credentials;
      }
      held->failure = error;
      held->failed_at = now;
      throw;
    } catch (...) {
      held_.lock()->renewing = false;
      throw;
    }
  }

  Shared hold(Credentials fetched, const CredentialPlace& place) {
    const Time now = clock_.now();
    auto held = held_.lock();
    held->fetched = now;
    held->renew_at = Time::max();
    held->usable_until = Time::max();
    if (fetched.expires) {
      // Short-lived ones, and a service that gives the same again, are not asked for at each call.
      held->renew_at = std::max(*fetched.expires - kRenewBefore, now + kTryAgainAfter);
      held->usable_until = *fetched.expires;
      // Expired already: this clock is wrong, or a service in trouble gives what it has. The store
      // is the judge.
      if (*fetched.expires <= now) held->usable_until = now + kTryAgainAfter;
    }
    held->credentials = std::make_shared<const Credentials>(std::move(fetched));
    held->refused = held->renewing = false;
    held->failure.reset();
    held->place = place.describe();
    held->can_change = place.can_change();
    return held->credentials;
  }

  const base::Clock& clock_;
  base::Guarded<Chain> chain_;
  mutable base::Guarded<Held> held_;
};

class FixedSource final : public CredentialSource {
 public:
  explicit FixedSource(Credentials credentials)
      : credentials_(std::make_shared<const Credentials>(std::move(credentials))) {}

  Shared current() override { return credentials_; }
  bool refused(const Credentials&) override { return false; }
  std::string describe() const override { return "fixed credentials"; }

 private:
  const Shared credentials_;
};

}  // namespace

std::unique_ptr<CredentialSource> find_credentials(CredentialOptions options,
                                                   const base::Clock& clock) {
  std::vector<std::unique_ptr<CredentialPlace>> places;
  // What somebody named on purpose is not overruled by what happens to be in the environment.
  const bool named = !options.file.empty() || !options.profile.empty();
  if (named) {
    places.push_back(profile_place(std::move(options)));
  } else {
    places.push_back(environment_place());
    places.push_back(web_identity_place());
    places.push_back(profile_place(std::move(options)));
    places.push_back(container_place());
    places.push_back(instance_place());
  }
  return std::make_unique<ChainSource>(std::move(places), clock);
}

std::unique_ptr<CredentialSource> fixed_credentials(Credentials credentials) {
  return std::make_unique<FixedSource>(std::move(credentials));
}

}  // namespace holdfast::storage::s3
