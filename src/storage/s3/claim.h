// The right to create one object at a store that cannot refuse to overwrite (no If-None-Match):
// whoever wants to puts a claim beside it, and goes on only while no other claim is listed.
//
// Why that is safe: of two that hold a claim each, one listed after both were put, for listings are
// up to date, and so has seen the other's. The loser withdraws, and looks again later, when the
// object is there. A claim of a run that was killed is ignored after 5 minutes of the store's
// clock; who took so long looks again before it creates anything. Internal to the S3 driver.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "storage/s3/client.h"

namespace holdfast::storage::s3 {

class Claim {
 public:
  // Waits until it is the only one, as long as `is_created` says false (kTimeout after a minute);
  // nullopt where that says true. `folder`: the key below which the claims stand, ending in '/'.
  template <typename IsCreated>
  static std::optional<Claim> take(Client& client, crypto::Random& random,
                                   const std::string& folder, IsCreated is_created);
  ~Claim();
  Claim(Claim&& other) noexcept;
  Claim& operator=(Claim&&) = delete;

  // Before what creates the object. Throws kTimeout where it may have expired, or others stand
  // beside it: nothing may be created under it any more.
  void require_fresh(const std::string& folder);

 private:
  Claim(Client& client, std::string key);
  bool is_alone(const std::string& folder);
  void withdraw();
  static std::chrono::nanoseconds running_time();
  static void give_up_waiting(std::chrono::nanoseconds begun, const std::string& folder);
  static void pause(crypto::Random& random);
  static std::string new_key(const std::string& folder, crypto::Random& random);

  Client* client_;  // null: moved from
  std::string key_;
  std::chrono::nanoseconds taken_;
};

template <typename IsCreated>
std::optional<Claim> Claim::take(Client& client, crypto::Random& random, const std::string& folder,
                                 IsCreated is_created) {
  for (const auto begun = running_time();; give_up_waiting(begun, folder)) {
    if (is_created()) return std::nullopt;
    {
      Claim claim(client, new_key(folder, random));
      // Looked at again: who had a claim before may have created it and gone.
      if (claim.is_alone(folder)) {
        if (is_created()) return std::nullopt;
        return claim;
      }
    }
    pause(random);
  }
}

}  // namespace holdfast::storage::s3
