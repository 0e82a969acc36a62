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
inline constexpr std::size_t kRecordInfoOffset = 16;
inline constexpr std::size_t kRecordManagerOffset = 17;
inline constexpr std::size_t kRecordCrcOffset = 20;
// More than the headers of a record and of all its blocks can take, than can stand before the end
// of a transaction's time, and than a restore point has.
inline constexpr std::size_t kMaxRecordHead = 1024;

// Resource managers: who wrote a record (access/rmgrlist.h).
inline constexpr std::uint8_t kRmXlog = 0;
inline constexpr std::uint8_t kRmTransaction = 1;
inline constexpr std::uint8_t kRmStorage = 2;
inline constexpr std::uint8_t kRmDatabase = 4;

// What may stand between a record's header and its main data, beside blocks: the id of each part.
inline constexpr std::uint8_t kIdShortData = 255;
inline constexpr std::uint8_t kIdLongData = 254;
inline constexpr std::uint8_t kIdOrigin = 253;
inline constexpr std::uint8_t kIdToplevelXid = 252;
inline constexpr std::size_t kOriginSize = 3;  // with the id, as the next
inline constexpr std::size_t kToplevelXidSize = 5;

// xl_xact_xinfo: which parts stand behind a transaction's time, in this order.
inline constexpr std::size_t kTransactionTimeSize = 8;
inline constexpr std::uint32_t kHasDatabase = 1 << 0;
inline constexpr std::uint32_t kHasSubtransactions = 1 << 1;
inline constexpr std::uint32_t kHasRelations = 1 << 2;
inline constexpr std::size_t kTransactionDatabaseSize = 8;
inline constexpr std::size_t kSubtransactionSize = 4;
inline constexpr std::size_t kDroppedRelationSize = 12;

// These take the front of a record, at least its header.
bool ends_transaction(base::ByteView head);
bool ends_prepared_transaction(base::ByteView head);
bool is_restore_point(base::ByteView head);
bool is_switch(base::ByteView head);
// Whether xl_xact_xinfo stands behind the time.
bool has_transaction_info(base::ByteView head);

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
