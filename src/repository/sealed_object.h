// Metadata objects: sealed under the metadata key and bound to their name. "Sealed metadata
// objects" in docs/format.md.
#pragma once

#include <optional>
#include <string_view>

#include "repository/repository.h"

namespace holdfast::repository {

enum class MetadataKind : std::uint8_t {
  kIndex = 1,
  kRecord = 2,
  kLock = 3,
  kReport = 4,
  kTombstone = 5
};

// kExists, touching nothing, if the name is taken.
storage::PutResult put_metadata(const Context& context, std::string_view name, MetadataKind kind,
                                base::ByteView body);
// Nullopt if it does not exist; kDamaged, naming it, if it is not what was put there.
std::optional<base::Bytes> get_metadata(const Context& context, std::string_view name,
                                        MetadataKind kind);

}  // namespace holdfast::repository
