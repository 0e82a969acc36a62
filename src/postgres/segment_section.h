// The "pg.segment" section of an archived segment ("Log objects" in docs/format.md).
#pragma once

#include <optional>

#include "postgres/wal_archive.h"
#include "postgres/wal_segment.h"
#include "repository/log_object.h"

namespace holdfast::postgres {

inline constexpr const char* kSegmentSection = "pg.segment";

// `modified` is the file's own time: when the server wrote it last.
repository::LogSection encode_segment_section(const WalSegmentInfo& info, base::Time modified);
// kDamaged where the section is missing or malformed.
ArchivedSegment decode_segment_section(const repository::LogInfo& info, const std::string& object);

}  // namespace holdfast::postgres
