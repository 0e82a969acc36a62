// What a single WAL record changes. Facts: PostgreSQL's access/xlogrecord.h and DecodeXLogRecord in
// access/transam/xlogreader.c; catalog/storage_xlog.h, commands/dbcommands_xlog.h, access/xact.h.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "postgres/change_collector.h"

namespace holdfast::postgres {

enum class RecordReading {
  kDone,       // all that it changes was told to the collector
  kCut,        // more bytes of the record are needed to tell; some may have been told
  kMalformed,  // no server writes such a record
  kUnlogged,   // from here on changes are not logged: wal_level was set to minimal
};

// `record` is the front of a record of `size` bytes, at least its header; most records need no more
// than kMaxRecordHead of it. Any bytes are safe. The page magic must be that of a known version.
RecordReading read_record_changes(base::ByteView record, std::size_t size, std::uint16_t page_magic,
                                  ChangeCollector& changes);

}  // namespace holdfast::postgres
