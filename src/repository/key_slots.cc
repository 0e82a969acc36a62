// Key slots: `keys/ID` in docs/format.md.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
#include "crypto/hash.h"
#include "repository/fields.h"
#include "repository/format_object.h"
#include "repository/keyring.h"

namespace holdfast::repository {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::string_view kMagic{"HFKEY\0\0\1", 8};
constexpr std::string_view kPrefix = "keys/";
constexpr std::string_view kSealContext = "key slot";
constexpr std::size_t kMaxSlotSize = 256 * 1024;
constexpr std::size_t kMaxLabelSize = 200;

// A slot as it stands in its object.
struct Slot {
  KeySlot about;
  RepositoryId repository;
  std::array<std::uint8_t, 16> salt{};
  crypto::ScryptCost cost{0, 0, 0};
  crypto::PublicKey public_key{};
  crypto::Digest proof{};
  base::Bytes head;  // all bytes before the sealed keyring
  base::Bytes sealed;
};

std::string slot_name(const SlotId& id) { return std::string(kPrefix) + id.hex(); }

base::Bytes associated_data(const Slot& slot) {
  base::ByteWriter writer;
  writer.raw(base::as_bytes(slot_name(slot.about.id)));
  writer.raw(slot.head);
  return writer.take();
}

crypto::Digest checksum(std::string_view name, base::ByteView bytes) {
  base::ByteWriter writer;
  writer.raw(base::as_bytes(name));
  writer.raw(bytes);
  return crypto::sha256(writer.view());
}

base::Bytes encode_head(const Slot& slot) {
  base::ByteWriter writer;
  writer.raw(base::as_bytes(kMagic));
  writer.u8(slot.about.kind == Credential::Kind::kKeyFile ? 1 : 2);
  writer.u8(slot.about.full ? 1 : 2);
  writer.raw(slot.repository.bytes);
  writer.string(slot.about.label);
  write_time(writer, slot.about.created);
  writer.raw(slot.salt);
  writer.u8(slot.cost.log2_n);
  writer.u8(slot.cost.r);
  writer.u8(slot.cost.p);
  writer.raw(slot.public_key);
  writer.raw(slot.proof);
  return writer.take();
}

Slot decode_slot(const SlotId& id, base::ByteView bytes) {
  const std::string name = slot_name(id);
  const auto refuse = [&](std::string_view problem) {
    throw Error(ErrorKind::kDamaged, fmt::format("{} {}", name, problem));
  };
  base::ByteReader reader(bytes, name);
  expect_magic(reader, kMagic, name);
  Slot slot;
  slot.about.id = id;
  const std::uint8_t kind = reader.u8();
  const std::uint8_t rights = reader.u8();
  if (kind < 1 || kind > 2 || rights < 1 || rights > 2) refuse("has an unknown kind or rights");
  slot.about.kind = kind == 1 ? Credential::Kind::kKeyFile : Credential::Kind::kPassphrase;
  slot.about.full = rights == 1;
  slot.repository.bytes = read_array<16>(reader);
  slot.about.label = reader.string();
  if (slot.about.label.size() > kMaxLabelSize) refuse("has too long a label");
  slot.about.created = read_time(reader, name);
  slot.salt = read_array<16>(reader);
  slot.cost.log2_n = reader.u8();
  slot.cost.r = reader.u8();
  slot.cost.p = reader.u8();
  slot.public_key = read_array<32>(reader);
  slot.proof = read_array<32>(reader);
  const std::size_t head_size = bytes.size() - reader.left();
  slot.head.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(head_size));
  const base::ByteView sealed = reader.bytes();
  slot.sealed.assign(sealed.begin(), sealed.end());
  const base::ByteView before = bytes.first(bytes.size() - reader.left());
  if (read_array<32>(reader) != checksum(name, before)) refuse("has a wrong checksum");
  reader.expect_end();
  return slot;
}

// Every slot of this repository; of those that cannot be used, the names.
struct SlotTable {
  std::vector<Slot> slots;  // oldest first
  std::vector<std::string> damaged;
};

SlotTable decode_slots(const std::vector<SlotObject>& objects,
                       const std::optional<RepositoryId>& repository) {
  SlotTable table;
  for (const auto& [name, bytes] : objects) {
    try {
      SlotId id;
      if (!base::from_hex(std::string_view(name).substr(kPrefix.size()), id.bytes)) {
        table.damaged.push_back(name);
        continue;
      }
      Slot slot = decode_slot(id, bytes);
      if (repository && slot.repository != *repository) {
        table.damaged.push_back(name);
      } else {
        table.slots.push_back(std::move(slot));
      }
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kDamaged) throw;
      table.damaged.push_back(name);
    }
  }
  std::stable_sort(table.slots.begin(), table.slots.end(),
                   [](const Slot& a, const Slot& b) { return a.about.created < b.about.created; });
  return table;
}

SlotTable load_slots(storage::Storage& storage, const std::optional<RepositoryId>& repository) {
  return decode_slots(read_key_slots(storage), repository);
}

// Nullopt where `format` cannot tell: whoever opens the repository hears of that by itself, and the
// slots can still be looked at.
std::optional<RepositoryId> repository_id_of(storage::Storage& storage) {
  try {
    const auto format = load_format(storage);
    if (format) return format->repository;
  } catch (const Error& error) {
    // kFailed: of a newer version, or its version's bytes are damaged.
    if (error.kind() != ErrorKind::kDamaged && error.kind() != ErrorKind::kFailed) throw;
  }
  return std::nullopt;
}

crypto::ExchangeKey slot_secret(const Credential& credential, const Slot& slot) {
  if (credential.kind == Credential::Kind::kKeyFile) {
    return crypto::hkdf_key<crypto::ExchangeKey>(
        slot.salt, credential.key_file_secret.value().bytes(), "holdfast key file v1");
  }
  crypto::ExchangeKey secret;
  crypto::scrypt(credential.passphrase, slot.salt, slot.cost, secret.writable());
  return secret;
}

crypto::Digest make_proof(const Slot& slot, const crypto::ExchangeKey& secret,
                          const Keyring& keyring) {
  const auto key =
      crypto::hkdf_key<crypto::AeadKey>(slot.salt, secret.bytes(), "holdfast key slot proof v1");
  return crypto::hmac(
      key.bytes(), {keyring.repository.bytes, keyring.identity.bytes(), keyring.metadata.bytes()});
}

// Seals the keyring into the slot, gives the slot a new id, and stores it.
void put_slot(storage::Storage& storage, Slot& slot, const Keyring& keyring,
              crypto::Random& random) {
  slot.about.id = SlotId::make(random);
  slot.head = encode_head(slot);
  const WipedBytes plain(encode_keyring(keyring));
  slot.sealed =
      crypto::seal_to(slot.public_key, kSealContext, associated_data(slot), plain.bytes, random);
  const std::string name = slot_name(slot.about.id);
  base::ByteWriter writer;
  writer.raw(slot.head);
  writer.bytes(slot.sealed);
  writer.raw(checksum(name, writer.view()));
  if (storage.put(name, writer.view()) == storage::PutResult::kExists) {
    throw Error(ErrorKind::kFailed, fmt::format("{} exists already", name));
  }
}

void check_credential(const Credential& credential) {
  if (credential.kind == Credential::Kind::kExported) {
    throw Error(
        ErrorKind::kUsage, "an exported key cannot open a key slot",
        "Give a key file that 'holdfast init' or 'holdfast key add' makes, or a passphrase.");
  }
  if (credential.kind == Credential::Kind::kPassphrase && credential.passphrase.empty()) {
    throw Error(ErrorKind::kUsage, "the passphrase is empty");
  }
}

void check_label(std::string_view label) {
  const bool control = std::any_of(label.begin(), label.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
  if (label.size() > kMaxLabelSize || control) {
    throw Error(ErrorKind::kUsage,
                fmt::format("a key's label is one line of at most {} bytes", kMaxLabelSize));
  }
}

// The keyring of a slot whose secret is at hand; kDamaged unless it is the one that was put there.
Keyring open_slot(const Slot& slot, const crypto::ExchangeKey& secret) {
  const std::string name = slot_name(slot.about.id);
  auto plain = crypto::open_sealed(secret, kSealContext, associated_data(slot), slot.sealed);
  if (!plain) throw Error(ErrorKind::kDamaged, fmt::format("{} does not authenticate", name));
  const WipedBytes wiped(std::move(*plain));
  Keyring keyring = base::with_context(name, [&] { return decode_keyring(wiped.bytes); });
  if (keyring.repository != slot.repository || keyring.can_read_data() != slot.about.full ||
      make_proof(slot, secret, keyring) != slot.proof) {
    throw Error(ErrorKind::kDamaged,
                fmt::format("{} holds a keyring that was not made with this key", name),
                "Someone may have replaced it. Do not write to this repository before you know.");
  }
  return keyring;
}

[[noreturn]] void no_slot_opens(const SlotTable& table, Credential::Kind kind) {
  const bool key_file = kind == Credential::Kind::kKeyFile;
  const auto of_kind = std::count_if(table.slots.begin(), table.slots.end(),
                                     [&](const Slot& slot) { return slot.about.kind == kind; });
  std::string damaged;
  if (!table.damaged.empty())
    damaged = fmt::format("; {} is damaged", fmt::join(table.damaged, ", "));
  if (table.slots.empty()) {
    throw Error(ErrorKind::kDamaged, "the repository has no usable key slot" + damaged,
                "Put its keys/ back from a copy, or open it with a key that 'holdfast key export' "
                "wrote.");
  }
  if (of_kind == 0) {
    throw Error(ErrorKind::kKey,
                fmt::format("the repository has no slot for a {}{}",
                            key_file ? "key file" : "passphrase", damaged),
                key_file ? "It is opened by a passphrase: configure 'passphrase'."
                         : "It is opened by a key file: configure 'key_file'.");
  }
  throw Error(ErrorKind::kKey,
              fmt::format("the {} does not open the repository{}",
                          key_file ? "key file" : "passphrase", damaged),
              key_file ? "Use the key file that 'holdfast init' made for this repository; another "
                         "repository's does not fit."
                       : "Check the passphrase, and that it is this repository's.");
}

}  // namespace

std::vector<KeySlot> list_key_slots(storage::Storage& storage, std::vector<std::string>* damaged) {
  SlotTable table = load_slots(storage, repository_id_of(storage));
  if (damaged) damaged->insert(damaged->end(), table.damaged.begin(), table.damaged.end());
  std::vector<KeySlot> slots;
  for (Slot& slot : table.slots) slots.push_back(std::move(slot.about));
  return slots;
}

SlotId add_key_slot(storage::Storage& storage, const Keyring& keyring, const Credential& credential,
                    std::string_view label, base::Time now, crypto::Random& random) {
  check_credential(credential);
  check_label(label);
  Slot slot;
  slot.about.kind = credential.kind;
  slot.about.full = keyring.can_read_data();
  slot.about.label = label;
  slot.about.created = now;
  slot.repository = keyring.repository;
  random.fill(slot.salt);
  if (credential.kind == Credential::Kind::kPassphrase) slot.cost = crypto::ScryptCost{};
  const crypto::ExchangeKey secret = slot_secret(credential, slot);
  slot.public_key = crypto::public_key_of(secret);
  slot.proof = make_proof(slot, secret, keyring);
  put_slot(storage, slot, keyring, random);
  return slot.about.id;
}

bool remove_key_slot(storage::Storage& storage, const SlotId& id) {
  const std::string name = slot_name(id);
  if (!storage.stat(name)) return false;
  const SlotTable table = load_slots(storage, repository_id_of(storage));
  const bool another = std::any_of(table.slots.begin(), table.slots.end(), [&](const Slot& slot) {
    return slot.about.full && slot.about.id != id;
  });
  const bool write_only =
      std::any_of(table.slots.begin(), table.slots.end(),
                  [&](const Slot& slot) { return !slot.about.full && slot.about.id == id; });
  if (!another && !write_only) {
    throw Error(ErrorKind::kRefused,
                fmt::format("{} is the last key that can read the backups", name),
                "Add another key first: holdfast key add.");
  }
  return storage.remove(name);
}

Keyring rotate_data_key(storage::Storage& storage, const Keyring& keyring, crypto::Random& random) {
  if (!keyring.can_read_data()) {
    throw Error(ErrorKind::kRefused, "a write-only key cannot rotate the data key");
  }
  SlotTable table = load_slots(storage, keyring.repository);
  if (!table.damaged.empty()) {
    throw Error(ErrorKind::kDamaged,
                fmt::format("cannot rotate: {} is damaged", fmt::join(table.damaged, ", ")),
                "Remove it first: holdfast key remove.");
  }
  Keyring rotated = keyring;
  rotated.add_data_key(random);
  std::vector<std::string> old_names;
  std::vector<crypto::PublicKey>
      done;  // a rotation that was killed leaves two slots for one secret
  for (Slot& slot : table.slots) {
    old_names.push_back(slot_name(slot.about.id));
    if (std::find(done.begin(), done.end(), slot.public_key) != done.end()) continue;
    done.push_back(slot.public_key);
    put_slot(storage, slot, slot.about.full ? rotated : rotated.write_only(), random);
  }
  for (const std::string& name : old_names) storage.remove(name);
  return rotated;
}

std::vector<SlotObject> read_key_slots(storage::Storage& storage) {
  std::vector<SlotObject> objects;
  storage.list(kPrefix, [&](const storage::ObjectInfo& info) {
    objects.push_back({info.name, {}});
  });
  const auto threads = std::clamp<std::size_t>(static_cast<std::size_t>(storage.requests_at_once()),
                                               1, std::max<std::size_t>(1, objects.size()));
  std::vector<char> is_there(objects.size());
  base::share_out(objects.size(), static_cast<int>(threads), {}, [&] {
    return [&](std::size_t n) {
      try {
        auto bytes = storage.get(objects[n].name, kMaxSlotSize);
        is_there[n] = bytes.has_value();  // else removed since
        if (bytes) objects[n].bytes = std::move(*bytes);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kDamaged) throw;
        is_there[n] = 1;  // and damaged: it has no bytes
      }
    };
  });
  std::vector<SlotObject> found;
  for (std::size_t n = 0; n < objects.size(); ++n) {
    if (is_there[n] != 0) found.push_back(std::move(objects[n]));
  }
  return found;
}

OpenedKeyring open_keyring(storage::Storage& storage, const Credential& credential) {
  return open_keyring(read_key_slots(storage), credential, repository_id_of(storage));
}

OpenedKeyring open_keyring(const std::vector<SlotObject>& objects, const Credential& credential,
                           const std::optional<RepositoryId>& repository) {
  if (credential.kind == Credential::Kind::kExported) {
    return {credential.exported.value(), std::nullopt};
  }
  check_credential(credential);
  SlotTable table = decode_slots(objects, repository);
  std::stable_partition(table.slots.begin(), table.slots.end(),
                        [](const Slot& slot) { return slot.about.full; });
  std::optional<OpenedKeyring> best;
  std::optional<Error> problem;
  std::optional<crypto::ExchangeKey> secret;  // once a slot fits: deriving may take long
  crypto::PublicKey fitting{};
  for (const Slot& slot : table.slots) {
    if (slot.about.kind != credential.kind) continue;
    if (!secret) {
      crypto::ExchangeKey candidate = slot_secret(credential, slot);
      fitting = crypto::public_key_of(candidate);
      if (fitting == slot.public_key) secret = candidate;
    }
    if (!secret || slot.public_key != fitting) continue;
    try {
      Keyring keyring = open_slot(slot, *secret);
      if (!best || keyring.data.size() > best->keyring.data.size()) {
        best = OpenedKeyring{std::move(keyring), slot.about.id};
      }
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kDamaged) throw;
      problem = error;
      if (!best) secret.reset();  // another slot may be for the same secret
    }
  }
  if (best) return std::move(*best);
  if (problem) throw *problem;
  no_slot_opens(table, credential.kind);
}

}  // namespace holdfast::repository
