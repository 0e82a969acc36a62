// The face of a repository: created once, opened by a credential, then used by the parts named in
// the other headers of this folder. Knows nothing of databases.
#pragma once

#include <memory>
#include <string>

#include "base/time.h"
#include "crypto/kdf.h"
#include "repository/keyring.h"
#include "storage/storage.h"

namespace holdfast::repository {

// What every part of a repository needs; outlives them all. Thread-safe: nothing in it changes.
struct Context {
  storage::Storage& storage;
  const Keyring& keyring;
  const base::Clock& clock;
  crypto::Random& random;
  int compression_level = 3;  // zstd; 0 stores chunks as they are
};

// True if the storage holds a `format` object.
bool exists(storage::Storage& storage);

// Writes `keys/…` and then `format`; kRefused if there is a repository already, or anything else.
void create(storage::Storage& storage, const Credential& credential, std::string_view slot_label,
            const base::Clock& clock, crypto::Random& random);
// The same with the keys, and so the id, of another repository, which must be able to read.
void create_with_keys(storage::Storage& storage, const Keyring& keyring,
                      const Credential& credential, std::string_view slot_label,
                      const base::Clock& clock, crypto::Random& random);

// Owns the storage and the keys.
class Repository {
 public:
  // kNotFound where there is no repository (with a hint to run init), kKey where the credential
  // does not open it, kDamaged where `format` does not authenticate.
  static std::unique_ptr<Repository> open(std::unique_ptr<storage::Storage> storage,
                                          const Credential& credential, const base::Clock& clock,
                                          crypto::Random& random, int compression_level);

  const Context& context() const { return context_; }
  storage::Storage& storage() const { return context_.storage; }
  const Keyring& keyring() const { return context_.keyring; }
  const std::optional<SlotId>& slot() const { return opened_.slot; }  // the one that opened it
  // Throws kRefused, naming what was wanted, where the credential is write-only.
  void require_reading(std::string_view what) const;

 private:
  Repository(std::unique_ptr<storage::Storage> storage, OpenedKeyring opened,
             const base::Clock& clock, crypto::Random& random, int compression_level);
  std::unique_ptr<storage::Storage> storage_;
  OpenedKeyring opened_;
  Context context_;
};

}  // namespace holdfast::repository
