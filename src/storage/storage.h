// Where objects live: a directory, or a bucket of an object store (storage/s3). Knows names and
// bytes, nothing of what they mean.
//
// The contract that every driver and decorator keeps (tests/storage/contract.h is its test):
// - An object is created whole or not at all, and never changes. When put() returns, it is durable:
//   it survives a crash of the machine; so it does when put() says that it was there already.
// - A put() that failed left nothing under the name, or (a lost answer) the whole object; doing it
//   again is safe.
// - Names are parts of [A-Za-z0-9._-] joined by '/', at most 255 bytes a part and 1,000 in all; no
//   part is "." or "..", and the first is not "tmp", where unfinished writes live. Others are
//   refused with kFailed before anything is touched.
// - A name that is another one's directory ("a" beside "a/b") is for callers to avoid.
// - Thread-safe.
// - Errors: kNoSpace, kPermission, kUnavailable, kTimeout or kFailed, naming the object.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/time.h"

namespace holdfast::storage {

struct ObjectInfo {
  std::string name;
  std::uint64_t size_bytes = 0;
  base::Time modified;          // the store's clock
  std::string storage_class{};  // as the store calls it; empty: its usual one, or it has none
};

enum class PutResult { kCreated, kExists };

// What an object is for. Stores with several classes of storage, or with retention, go by it.
enum class Use {
  kMetadata,   // read by every run
  kBulk,       // much, and read by restores alone; of a random name, which nobody else puts
  kTransient,  // removed soon by whoever put it
};

class ObjectStore;

class Storage {
 public:
  virtual ~Storage() = default;

  // Creates `name` with `content`; kExists, touching nothing, if the name is taken. Fastest where
  // the content begins at a multiple of 4096 (an AlignedBuffer).
  virtual PutResult put(std::string_view name, base::ByteView content,
                        Use use = Use::kMetadata) = 0;

  // The whole object; nullopt if it does not exist; kDamaged if it is larger than `max_size_bytes`.
  virtual std::optional<base::Bytes> get(std::string_view name, std::uint64_t max_size_bytes) = 0;

  // Fills `buffer` from `offset` on; returns the bytes read, fewer only where the object ends;
  // nullopt if there is no such object.
  virtual std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                          base::MutableByteView buffer) = 0;

  virtual std::optional<ObjectInfo> stat(std::string_view name) = 0;

  // Every object whose name begins with `prefix` (empty, or ending in '/'), sorted by name. `each`
  // may use the storage; whether it then sees what it adds or removes is left open.
  virtual void list(std::string_view prefix,
                    const std::function<void(const ObjectInfo&)>& each) = 0;

  // False if it did not exist. Durable on return. Of several at once, one and only one says true,
  // but for object stores, where more may.
  virtual bool remove(std::string_view name) = 0;
  // Many at once, where that is faster; those that do not exist are no error. Durable on return;
  // after an exception some are removed.
  virtual void remove_all(std::span<const std::string> names);

  // So many requests under way at once are worth having: 1 where waiting costs nothing.
  virtual int requests_at_once() const { return 1; }
  // What only object stores can do; null for others.
  virtual ObjectStore* object_store() { return nullptr; }

  // For messages: "/backup/holdfast", "s3://bucket/prefix".
  virtual std::string describe() const = 0;
};

// Whether a name is within the rule above; check_name() throws kFailed for one that is not.
bool is_valid_name(std::string_view name);
void check_name(std::string_view name);
// The same for the prefix of a list().
void check_prefix(std::string_view prefix);

}  // namespace holdfast::storage
