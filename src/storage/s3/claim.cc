#include "storage/s3/claim.h"

#include <fmt/format.h>
#include <time.h>

#include <array>
#include <thread>

#include "base/error.h"
#include "storage/s3/checksum.h"

namespace holdfast::storage::s3 {
namespace {

constexpr std::chrono::minutes kExpiry{5};
constexpr std::chrono::seconds kGoodFor{30};
constexpr std::chrono::seconds kPatience{60};
constexpr std::uint32_t kLongestPauseMs = 400;

}  // namespace

std::string Claim::new_key(const std::string& folder, crypto::Random& random) {
  std::array<std::uint8_t, 16> id{};
  random.fill(id);
  return folder + base::to_hex(id);
}

Claim::Claim(Client& client, std::string key)
    : client_(&client), key_(std::move(key)), taken_(running_time()) {
  const Checksum checksum = checksum_of({});
  Request request{.method = Method::kPut, .key = key_, .body_sha256 = checksum.sha256_hex};
  add_checksum(ChecksumKind::kMd5, {}, checksum, request.headers);  // all stores take this one
  try {
    client.send(request);
  } catch (const base::Error&) {
    withdraw();  // it may have been put
    throw;
  }
}

Claim::Claim(Claim&& other) noexcept
    : client_(std::exchange(other.client_, nullptr)),
      key_(std::move(other.key_)),
      taken_(other.taken_) {}

Claim::~Claim() {
  if (client_ != nullptr) withdraw();
}

void Claim::withdraw() {
  try {
    client_->send({.method = Method::kDelete, .key = key_}, {404});
  } catch (const std::exception&) {
    // It expires.
  }
}

// By the clock that goes on in suspend: others count from when the claim was put.
std::chrono::nanoseconds Claim::running_time() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

void Claim::require_fresh(const std::string& folder) {
  if (running_time() - taken_ < kGoodFor || is_alone(folder)) return;
  throw base::Error(base::ErrorKind::kTimeout,
                    "the right to create the object was lost: it took too long", "try again");
}

void Claim::give_up_waiting(std::chrono::nanoseconds begun, const std::string& folder) {
  if (running_time() - begun < kPatience) return;
  throw base::Error(
      base::ErrorKind::kTimeout,
      fmt::format("others want to create the same object: claims stand in {}", folder),
      "try again; a claim of a run that was killed counts for five minutes");
}

bool Claim::is_alone(const std::string& folder) {
  const Answer answer =
      client_->send({.method = Method::kGet, .query = {{"list-type", "2"}, {"prefix", folder}}});
  const ListPage page = read_list(answer.http.body);
  std::optional<base::Time> now;
  for (const ListedObject& object : page.objects) {
    if (object.info.name == key_) now = object.info.modified;
  }
  if (!now || !page.next.empty()) return false;
  for (const ListedObject& object : page.objects) {
    if (object.info.name == key_) continue;
    if (*now - object.info.modified <= kExpiry) return false;
    client_->send({.method = Method::kDelete, .key = object.info.name}, {404});
  }
  return true;
}

void Claim::pause(crypto::Random& random) {
  std::array<std::uint8_t, 2> bytes{};
  random.fill(bytes);
  const std::uint32_t value = std::uint32_t{bytes[0]} << 8 | bytes[1];
  std::this_thread::sleep_for(std::chrono::milliseconds(20 + value * kLongestPauseMs / 65536));
}

}  // namespace holdfast::storage::s3
