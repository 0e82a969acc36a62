// What single WAL records say of what a recovery can aim at: ends of transactions and restore
// points. Facts: PostgreSQL's access/xlogrecord.h, xact.h, xlog_internal.h, and ParseCommitRecord
// in rmgrdesc/xactdesc.c.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/time.h"

namespace holdfast::postgres {

// XLogRecord: the header of every record.
inline constexpr std::size_t kRecordHeaderSize = 24;
inline constexpr std::size_t kRecordXidOffset = 4;
inline constexpr std::size_t kRecordPreviousOffset = 8;
inline constexpr std::size_t kRecordCrcOffset = 20;
// As much of a record as can stand before the end of a transaction's time, or is a restore point.
inline constexpr std::size_t kMaxRecordHead = 128;

// These take the front of a record, at least its header.
bool ends_transaction(base::ByteView head);
bool ends_prepared_transaction(base::ByteView head);
bool is_restore_point(base::ByteView head);
bool is_switch(base::ByteView head);

// The time with which the main data of all these begins, but of a switch. Nullopt where it is not
// in `head`, or is none that a server's clock could show.
std::optional<base::Time> record_time(base::ByteView head);

// Of the transaction that ends: the number that recovery_target_xid is compared with. Nullopt where
// it is not in what is given of the record: that of a prepared transaction stands far behind.
std::optional<std::uint32_t> ended_xid(base::ByteView record, std::uint16_t page_magic);

// Nullopt where its end is not in what is given of the record.
std::optional<std::string> restore_point_name(base::ByteView record);

// Whether the record has no blocks, and its main data end exactly where it ends.
bool is_whole_without_blocks(base::ByteView record);

}  // namespace holdfast::postgres
