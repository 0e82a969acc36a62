// Metadata objects: sealed under the metadata key and bound to their name. "Sealed metadata
// objects" in docs/format.md.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "repository/repository.h"

namespace holdfast::repository {

enum class MetadataKind : std::uint8_t {
  kIndex = 1,
  kRecord = 2,
  kLock = 3,
  kReport = 4,
  kTombstone = 5,
  kFence = 6
};

// kExists, touching nothing, if the name is taken. `stored_bytes`: what the object takes.
storage::PutResult put_metadata(const Context& context, std::string_view name, MetadataKind kind,
                                base::ByteView body, std::uint64_t* stored_bytes = nullptr);
// Nullopt if it does not exist; kDamaged, naming it, if it is not what was put there.
std::optional<base::Bytes> get_metadata(const Context& context, std::string_view name,
                                        MetadataKind kind);

struct FetchedMetadata {
  const std::string& name;
  std::optional<base::Bytes> body;    // nullopt: it does not exist, or is damaged
  std::optional<base::Error> damage;  // why it cannot be used
};
// Each of them, in this order, on the caller's thread; where the storage is far away, many are
// fetched at once. Memory: some 64 objects. Throws what is no damage.
void get_all_metadata(const Context& context, std::span<const std::string> names, MetadataKind kind,
                      const std::function<void(FetchedMetadata&)>& each);

}  // namespace holdfast::repository
