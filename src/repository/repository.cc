#include "repository/repository.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "crypto/hash.h"
#include "repository/fields.h"
#include "repository/format_object.h"

namespace holdfast::repository {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::string_view kFormatName = "format";
constexpr std::string_view kMagic{"HFREPO\0\1", 8};
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kMaxFormatSize = 64 * 1024;
constexpr int kChunkPages = 128;

crypto::Digest format_mac(const Keyring& keyring, base::ByteView bytes) {
  return crypto::hmac(keyring.metadata.bytes(), {base::as_bytes("holdfast format v1"), bytes});
}

// What an earlier create() that was killed has left; throws kRefused if there is anything else.
std::vector<std::string> leftovers(storage::Storage& storage) {
  std::vector<std::string> names;
  storage.list("", [&](const storage::ObjectInfo& object) {
    if (object.name == kFormatName) {
      throw Error(ErrorKind::kRefused,
                  fmt::format("{} holds a repository already", storage.describe()));
    }
    if (object.name.starts_with("tmp/")) return;
    if (!object.name.starts_with("keys/")) {
      throw Error(ErrorKind::kRefused,
                  fmt::format("{} is not empty: it holds {}", storage.describe(), object.name),
                  "Give an empty or a new directory for the repository.");
    }
    names.push_back(object.name);
  });
  return names;
}

}  // namespace

base::Bytes encode_format(const Keyring& keyring, std::string_view parameters_json) {
  base::ByteWriter writer;
  writer.raw(base::as_bytes(kMagic));
  writer.u32(kVersion);
  writer.raw(keyring.repository.bytes);
  writer.string(parameters_json);
  writer.raw(format_mac(keyring, writer.view()));
  return writer.take();
}

std::optional<FormatObject> load_format(storage::Storage& storage) {
  const auto bytes = storage.get(kFormatName, kMaxFormatSize);
  if (!bytes) return std::nullopt;
  base::ByteReader reader(*bytes, kFormatName);
  expect_magic(reader, kMagic, kFormatName);
  const std::uint32_t version = reader.u32();
  if (version > kVersion) {
    throw Error(ErrorKind::kFailed,
                fmt::format("the repository has format version {}, and this program knows {}",
                            version, kVersion),
                "Use a newer holdfast.");
  }
  if (version != kVersion) throw Error(ErrorKind::kDamaged, "format has an impossible version");
  FormatObject format;
  format.repository.bytes = read_array<16>(reader);
  format.parameters_json = reader.string();
  const auto before = static_cast<std::ptrdiff_t>(bytes->size() - reader.left());
  format.authenticated.assign(bytes->begin(), bytes->begin() + before);
  format.mac = read_array<32>(reader);
  reader.expect_end();
  return format;
}

bool authenticates(const FormatObject& format, const Keyring& keyring) {
  return format.mac == format_mac(keyring, format.authenticated);
}

bool exists(storage::Storage& storage) { return storage.stat(kFormatName).has_value(); }

void create(storage::Storage& storage, const Credential& credential, std::string_view slot_label,
            const base::Clock& clock, crypto::Random& random) {
  create_with_keys(storage, Keyring::make(random), credential, slot_label, clock, random);
}

void create_with_keys(storage::Storage& storage, const Keyring& keyring,
                      const Credential& credential, std::string_view slot_label,
                      const base::Clock& clock, crypto::Random& random) {
  if (!keyring.can_read_data()) {
    throw Error(ErrorKind::kRefused, "a repository that nobody can read is not made");
  }
  // Slots of a create() that was killed are removed only once `format` is ours: until then another
  // create(), at work right now, may be about to need them.
  const std::vector<std::string> old_slots = leftovers(storage);
  const base::Time now = clock.now();
  const SlotId slot = add_key_slot(storage, keyring, credential, slot_label, now, random);
  const nlohmann::json parameters = {{"created", base::format_time(now)},
                                     {"chunk_pages", kChunkPages}};
  if (storage.put(kFormatName, encode_format(keyring, parameters.dump())) ==
      storage::PutResult::kExists) {
    storage.remove("keys/" + slot.hex());
    throw Error(ErrorKind::kRefused,
                fmt::format("{} was made a repository by another run", storage.describe()));
  }
  for (const std::string& name : old_slots) storage.remove(name);
}

std::unique_ptr<Repository> Repository::open(std::unique_ptr<storage::Storage> storage,
                                             const Credential& credential, const base::Clock& clock,
                                             crypto::Random& random, int compression_level) {
  // Both at once: far away, each answer takes its time.
  std::optional<FormatObject> format;
  std::vector<SlotObject> slots;
  base::share_out(2, std::min(2, storage->requests_at_once()), {}, [&] {
    return [&](std::size_t n) {
      if (n == 0) {
        format = load_format(*storage);
      } else {
        slots = read_key_slots(*storage);
      }
    };
  });
  if (!format) {
    throw Error(ErrorKind::kNotFound,
                fmt::format("there is no repository in {}", storage->describe()),
                "Create it: holdfast init.");
  }
  OpenedKeyring opened = open_keyring(slots, credential, format->repository);
  if (opened.keyring.repository != format->repository) {
    throw Error(ErrorKind::kKey,
                fmt::format("the key is not of the repository in {}", storage->describe()),
                "It was exported from another repository.");
  }
  if (!authenticates(*format, opened.keyring)) {
    throw Error(ErrorKind::kDamaged, "format does not authenticate: it was damaged or altered",
                "Put it back from a copy of the repository.");
  }
  return std::unique_ptr<Repository>(
      new Repository(std::move(storage), std::move(opened), clock, random, compression_level));
}

Repository::Repository(std::unique_ptr<storage::Storage> storage, OpenedKeyring opened,
                       const base::Clock& clock, crypto::Random& random, int compression_level)
    : storage_(std::move(storage)),
      opened_(std::move(opened)),
      context_{*storage_, opened_.keyring, clock, random, compression_level} {}

void Repository::require_reading(std::string_view what) const {
  if (opened_.keyring.can_read_data()) return;
  throw Error(ErrorKind::kRefused,
              fmt::format("{} needs to read data, and this key is write-only", what),
              "Use the repository's key file or passphrase, or a full export of its keys.");
}

}  // namespace holdfast::repository
