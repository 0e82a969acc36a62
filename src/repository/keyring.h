// The repository's keys, the slots that wrap them, and the key files that open the slots.
// "Keys" in docs/format.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "crypto/seal.h"
#include "repository/ids.h"
#include "storage/storage.h"

namespace holdfast::repository {

struct DataKeyPair {
  crypto::PublicKey public_key{};
  std::optional<crypto::ExchangeKey> secret_key;  // none in a write-only credential
};

struct Keyring {
  RepositoryId repository;
  crypto::IdentityKey identity;
  crypto::MetadataKey metadata;
  std::vector<DataKeyPair> data;  // never empty; the last one is for writing

  static Keyring make(crypto::Random& random);
  void add_data_key(crypto::Random& random);  // writing uses it from then on
  Keyring write_only() const;                 // without the secret keys
  bool can_read_data() const;
  const crypto::PublicKey& writing_key() const { return data.back().public_key; }
  const crypto::ExchangeKey* secret_for(const crypto::PublicKey& key) const;
};

base::Bytes encode_keyring(const Keyring& keyring);  // the caller wipes it
Keyring decode_keyring(base::ByteView bytes);

// What a user opens a repository with.
struct Credential {
  enum class Kind { kKeyFile, kPassphrase, kExported };
  Kind kind = Kind::kKeyFile;
  crypto::SecretText passphrase;
  std::optional<crypto::AeadKey> key_file_secret;
  std::optional<Keyring> exported;
};

Credential parse_key_file(const crypto::SecretText& text);  // kKey if it is none
crypto::SecretText make_key_file(crypto::Random& random);
crypto::SecretText export_key_file(const Keyring& keyring);  // FULL or WRITE-ONLY, by what it holds
// The same to be printed and kept: it can be typed in again by hand.
crypto::SecretText print_key_file(const Keyring& keyring, base::Time now);

struct KeySlot {
  SlotId id;
  Credential::Kind kind = Credential::Kind::kKeyFile;
  bool full = true;
  std::string label;
  base::Time created;
};

// All slots, oldest first. A slot that is damaged or of another repository is left out, and its
// name added to `damaged` if given.
std::vector<KeySlot> list_key_slots(storage::Storage& storage,
                                    std::vector<std::string>* damaged = nullptr);

// Wraps `keyring` for `credential` (a key file or a passphrase) in a new slot.
SlotId add_key_slot(storage::Storage& storage, const Keyring& keyring, const Credential& credential,
                    std::string_view label, base::Time now, crypto::Random& random);

// Never the last slot with full rights: kRefused. False if there is no such slot.
bool remove_key_slot(storage::Storage& storage, const SlotId& id);

// A new data key pair for writing. Every slot is sealed again under a new id, and only then the old
// ones are removed. kRefused for a write-only keyring, kDamaged if a slot is damaged. Gives the new
// keyring.
Keyring rotate_data_key(storage::Storage& storage, const Keyring& keyring, crypto::Random& random);

struct OpenedKeyring {
  Keyring keyring;
  std::optional<SlotId> slot;  // none for an exported key
};

// Tries every slot that fits the credential; kKey with a hint if none opens.
OpenedKeyring open_keyring(storage::Storage& storage, const Credential& credential);

// The same in two steps: what stands in keys/, and the rest once `format` has told the repository's
// id (nullopt where it cannot).
struct SlotObject {
  std::string name;
  base::Bytes bytes;
};
std::vector<SlotObject> read_key_slots(storage::Storage& storage);
OpenedKeyring open_keyring(const std::vector<SlotObject>& objects, const Credential& credential,
                           const std::optional<RepositoryId>& repository);

}  // namespace holdfast::repository
