#include "storage/s3/claim.h"

#include <array>
#include <thread>

#include "base/error.h"
#include "storage/s3/checksum.h"

namespace holdfast::storage::s3 {
namespace {

constexpr std::chrono::minutes kExpiry{30};
constexpr std::chrono::minutes kGoodFor{10};
constexpr std::uint32_t kLongestPauseMs = 400;

}  // namespace

std::string Claim::new_key(const std::string& folder, crypto::Random& random) {
  std::array<std::uint8_t, 16> id{};
  random.fill(id);
  return folder + base::to_hex(id);
}

Claim::Claim(Client& client, std::string key)
    : client_(&client), key_(std::move(key)), taken_(std::chrono::steady_clock::now()) {
  client.send({.method = Method::kPut, .key = key_});
}

Claim::Claim(Claim&& other) noexcept
    : client_(std::exchange(other.client_, nullptr)),
      key_(std::move(other.key_)),
      taken_(other.taken_) {}

Claim::~Claim() {
  if (client_ == nullptr) return;
  try {
    client_->send({.method = Method::kDelete, .key = key_}, {404});
  } catch (const std::exception&) {
    // It expires.
  }
}

void Claim::require_fresh() const {
  if (std::chrono::steady_clock::now() - taken_ < kGoodFor) return;
  throw base::Error(base::ErrorKind::kTimeout,
                    "the right to create the object took too long to get", "try again");
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
