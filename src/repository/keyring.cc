#include "repository/keyring.h"

#include <algorithm>

#include "base/error.h"
#include "repository/fields.h"

namespace holdfast::repository {
namespace {

constexpr std::uint8_t kKeyringVersion = 1;
constexpr std::size_t kMaxDataKeys = 1000;
constexpr std::size_t kSmallestPair = 33;  // public key and the flag

[[noreturn]] void damaged(std::string_view problem) {
  throw base::Error(base::ErrorKind::kDamaged, "the keyring " + std::string(problem));
}

DataKeyPair decode_pair(base::ByteReader& reader) {
  DataKeyPair pair;
  pair.public_key = read_array<32>(reader);
  const std::uint8_t has_secret = reader.u8();
  if (has_secret > 1) damaged("has an impossible flag");
  if (has_secret == 1) {
    pair.secret_key = crypto::ExchangeKey(reader.raw(32).first<32>());
    if (crypto::public_key_of(*pair.secret_key) != pair.public_key) {
      damaged("holds a data key whose two halves do not fit");
    }
  }
  return pair;
}

}  // namespace

Keyring Keyring::make(crypto::Random& random) {
  Keyring keyring;
  keyring.repository = RepositoryId::make(random);
  random.fill(keyring.identity.writable());
  random.fill(keyring.metadata.writable());
  keyring.add_data_key(random);
  return keyring;
}

void Keyring::add_data_key(crypto::Random& random) {
  DataKeyPair pair;
  pair.secret_key = crypto::new_exchange_key(random);
  pair.public_key = crypto::public_key_of(*pair.secret_key);
  data.push_back(std::move(pair));
}

Keyring Keyring::write_only() const {
  Keyring copy = *this;
  for (DataKeyPair& pair : copy.data) pair.secret_key.reset();
  return copy;
}

bool Keyring::can_read_data() const {
  return std::any_of(data.begin(), data.end(),
                     [](const DataKeyPair& pair) { return pair.secret_key.has_value(); });
}

const crypto::ExchangeKey* Keyring::secret_for(const crypto::PublicKey& key) const {
  for (auto pair = data.rbegin(); pair != data.rend(); ++pair) {
    if (pair->public_key == key) return pair->secret_key ? &*pair->secret_key : nullptr;
  }
  return nullptr;
}

base::Bytes encode_keyring(const Keyring& keyring) {
  // Room for all of it at once: growing would leave copies of the keys behind.
  base::Bytes bytes;
  bytes.reserve(1 + 16 + 64 + 10 + keyring.data.size() * 65);
  const auto append = [&bytes](base::ByteView part) {
    bytes.insert(bytes.end(), part.begin(), part.end());
  };
  bytes.push_back(kKeyringVersion);
  append(keyring.repository.bytes);
  append(keyring.identity.bytes());
  append(keyring.metadata.bytes());
  base::ByteWriter count;
  count.varint(keyring.data.size());
  append(count.view());
  for (const DataKeyPair& pair : keyring.data) {
    append(pair.public_key);
    bytes.push_back(pair.secret_key ? 1 : 0);
    if (pair.secret_key) append(pair.secret_key->bytes());
  }
  return bytes;
}

Keyring decode_keyring(base::ByteView bytes) {
  base::ByteReader reader(bytes, "the keyring");
  if (reader.u8() != kKeyringVersion) damaged("has an unknown version");
  Keyring keyring;
  keyring.repository.bytes = read_array<16>(reader);
  keyring.identity = crypto::IdentityKey(reader.raw(32).first<32>());
  keyring.metadata = crypto::MetadataKey(reader.raw(32).first<32>());
  const std::size_t count = reader.count(kSmallestPair);
  if (count == 0 || count > kMaxDataKeys) damaged("has an impossible number of data keys");
  keyring.data.reserve(count);
  for (std::size_t i = 0; i < count; ++i) keyring.data.push_back(decode_pair(reader));
  reader.expect_end();
  return keyring;
}

}  // namespace holdfast::repository
