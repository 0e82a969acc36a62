// What a recovery can aim at in one archived segment: the "pg.marks" section ("Log objects" in
// docs/format.md).
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "postgres/wal_segment.h"
#include "repository/log_object.h"

namespace holdfast::postgres {

inline constexpr const char* kMarksSection = "pg.marks";

struct WalMarks {
  // Stretches of transaction numbers, first and last, ascending. All that ended in the segment are
  // among them; where their list would be long, others are too.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> xids;
  std::vector<RestorePoint> restore_points;
  bool complete = true;  // false: the segment may hold more of both

  bool may_hold(std::uint32_t xid) const;
};

WalMarks marks_of(const WalSegmentInfo& info);
// Nullopt where there are none: the section is then left out.
std::optional<repository::LogSection> encode_marks(const WalMarks& marks);
// No marks where the section is missing. kDamaged where it is malformed.
WalMarks decode_marks(const repository::LogInfo& info, const std::string& object);

}  // namespace holdfast::postgres
