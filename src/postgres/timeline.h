// Timeline history files: from where a timeline branched off.
// Facts: PostgreSQL's access/timeline.h and transam/timeline.c.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "postgres/wal_name.h"

namespace holdfast::postgres {

struct TimelineSwitch {
  std::uint32_t parent = 0;  // the timeline that was left
  Lsn at = 0;                // where: the first byte that is no longer the parent's
  std::string reason;
};

// A timeline and its line of ancestors. Timeline 1 (and any whose history is not known) has none.
class TimelineHistory {
 public:
  explicit TimelineHistory(std::uint32_t timeline) : timeline_(timeline) {}

  // The text of TIMELINE.history. Throws kFailed where it is not one.
  static TimelineHistory parse(std::uint32_t timeline, std::string_view text);

  std::uint32_t timeline() const { return timeline_; }
  const std::vector<TimelineSwitch>& parents() const { return parents_; }  // the oldest first

  // Where that ancestor's WAL ends on this history; nullopt for the timeline itself and for one
  // that is no ancestor (see is_member).
  std::optional<Lsn> end_of(std::uint32_t timeline) const;
  // Where that member's WAL begins on this history: 0 for the oldest. Nullopt for no member.
  std::optional<Lsn> start_of(std::uint32_t timeline) const;
  bool is_member(std::uint32_t timeline) const;

  // Whether the cluster was, or is on the way to be, at this point: `lsn` reached on `timeline`.
  // The switch point itself belongs to both sides.
  bool contains(std::uint32_t timeline, Lsn lsn) const;

  // The timeline whose WAL holds the byte at `lsn`.
  std::uint32_t timeline_of(Lsn lsn) const;

 private:
  void find_ends();
  // Among parents_; parents_.size() for the timeline itself.
  std::optional<std::size_t> position_of(std::uint32_t timeline) const;

  std::uint32_t timeline_;
  std::vector<TimelineSwitch> parents_;
  std::vector<Lsn> ends_;  // where each parent's WAL ends here; never falling
};

}  // namespace holdfast::postgres
