// What stands in a WAL segment: its header, and where and when its transactions ended.
// Facts: PostgreSQL's access/xlog_internal.h, xlogrecord.h and xact.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "postgres/segment_changes.h"
#include "postgres/wal_name.h"

namespace holdfast::postgres {

// A record that commits or aborts a transaction.
struct TransactionEnd {
  std::uint32_t xid = 0;
  Lsn lsn = 0;
  bool certain = true;  // false: what the record does is in the next segment; it may be another one
};

// pg_create_restore_point()
struct RestorePoint {
  std::string name;
  base::Time time;
  Lsn lsn = 0;
};

struct WalSegmentInfo {
  std::uint16_t page_magic = 0;
  std::uint32_t page_size = 0;
  std::uint64_t system_id = 0;
  // Of the first page. In the first segment of a new timeline it is still the parent's: what stands
  // before the switch was copied. So it is at most the timeline in the segment's name.
  std::uint32_t timeline = 0;
  Lsn start = 0;
  std::uint32_t segment_size = 0;
  // Of the transactions that committed or aborted here. Commits stand in the WAL nearly in the
  // order of their times but not quite: these are the least and the greatest.
  std::optional<base::Time> first_commit;
  std::optional<base::Time> last_commit;
  // In the order of the WAL. A record that begins in the last bytes of the segment before, where
  // only this one shows what it is, counts here.
  std::vector<TransactionEnd> ends;
  std::vector<RestorePoint> restore_points;
  bool marks_missing = false;  // one of these could not be read: it is cut by the segment's end
  Lsn last_record = 0;  // start of the last record whose header is here; 0 where there is none
  // How far the WAL could be followed. In a segment that a server has finished this is the
  // segment's end; where it is less, the segment is not full yet, or damaged.
  Lsn end = 0;
  std::string note;  // for the user, where something is odd but no error; else empty
};

// The PostgreSQL version that writes this page magic; 0 where it is not known.
int server_version_of_page_magic(std::uint16_t magic);

// From the first 40 bytes or more. Throws kFailed with the reason where this is no WAL segment, or
// one from before PostgreSQL 13.
WalSegmentInfo read_segment_header(base::ByteView first_page);

// The same, and a walk over the records. Takes a whole segment or the front of one (a .partial
// file, or one padded with zeros or with the bytes of a recycled segment): it stops at the first
// thing that does not continue the chain. The content is not proved, only followed; any bytes are
// safe.
WalSegmentInfo scan_segment(base::ByteView segment);
// In the same pass, what the records change. Of WAL of an unknown version nothing is covered.
WalSegmentInfo scan_segment(base::ByteView segment, SegmentChanges& changes);

}  // namespace holdfast::postgres
