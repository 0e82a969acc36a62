// What object stores can do beside keeping objects: classes of storage that must be thawed before
// they are read, retention that nobody can shorten (WORM), uploads that were never finished.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace holdfast::storage {

struct ObjectState {
  enum class Thaw {
    kNotNeeded,  // it can be read at once
    kNeeded,     // it is frozen: reading is refused until it is thawed
    kUnderWay,
    kThawed,  // a copy can be read, until `thawed_until`
  };
  std::string storage_class;  // "STANDARD", "DEEP_ARCHIVE", …
  Thaw thaw = Thaw::kNotNeeded;
  std::optional<base::Time> thawed_until;
  std::optional<base::Time> locked_until;  // it cannot be destroyed before
};

enum class ThawSpeed { kBulk, kStandard, kExpedited };

// A multipart upload that a killed run left: it is invisible, and costs.
struct UnfinishedUpload {
  std::string name;
  std::string id;
  base::Time begun;
};

// What a store was found to be like; for `check`.
struct StoreFinding {
  enum class Verdict { kGood, kAttention, kBad };
  Verdict verdict = Verdict::kGood;
  std::string what;    // "conditional writes"
  std::string detail;  // a sentence
  std::string advice;  // empty if good
};

// Thread-safe. Errors as storage.h has them.
class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  // Nullopt if there is no such object.
  virtual std::optional<ObjectState> state(std::string_view name) = 0;

  // Asks for a copy that can be read for so many days; a request that is under way is no error.
  virtual void thaw(std::string_view name, ThawSpeed speed, int days) = 0;

  // How long new objects are locked (but transient ones); nullopt where the repository does not
  // lock. They are given a quarter more, so that what is used again need not be extended each time.
  virtual std::optional<base::Duration> lock_period() const = 0;
  // Extends the retention of an object, never shortens it.
  virtual void lock_until(std::string_view name, base::Time until) = 0;

  virtual std::vector<UnfinishedUpload> unfinished_uploads() = 0;
  virtual void abort_upload(const UnfinishedUpload& upload) = 0;

  // Tries the store: rights, conditional writes, checksums, versions, locking, the clock. Leaves
  // nothing behind. Never throws for what it finds.
  virtual std::vector<StoreFinding> examine() = 0;
};

}  // namespace holdfast::storage
