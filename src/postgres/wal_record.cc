#include "postgres/wal_record.h"

#include <algorithm>

#include "postgres/little_endian.h"

namespace holdfast::postgres {
namespace {

using base::ByteView;

constexpr std::uint8_t kXlogSwitch = 0x40;  // of the info's upper four bits
constexpr std::uint8_t kXlogRestorePoint = 0x70;
// Of the info for kRmTransaction: three bits of operation, and whether xl_xact_xinfo follows.
constexpr std::uint8_t kOperationMask = 0x70;
constexpr std::uint8_t kCommit = 0x00;
constexpr std::uint8_t kAbort = 0x20;
constexpr std::uint8_t kCommitPrepared = 0x30;
constexpr std::uint8_t kAbortPrepared = 0x40;
constexpr std::uint8_t kHasInfo = 0x80;
constexpr std::size_t kShortDataHeaderSize = 2;
constexpr std::size_t kLongDataHeaderSize = 5;

constexpr std::size_t kMaxNameSize = 64;  // MAXFNAMELEN, with the zero behind it

// xl_xact_xinfo, continued. All but the first and the last are a count and its items.
constexpr std::uint32_t kHasTwoPhase = 1 << 4;
struct List {
  std::uint32_t bit;
  std::size_t item_size;
};
constexpr List kSubtransactions = {kHasSubtransactions, kSubtransactionSize};
constexpr List kRelations = {kHasRelations, kDroppedRelationSize};
constexpr List kDroppedStatistics = {1 << 8, 12};
constexpr List kDroppedStatistics18 = {1 << 8, 16};
constexpr List kInvalidations = {1 << 3, 16};
constexpr std::uint16_t kMagic18 = 0xD118;

constexpr base::Time kPostgresEpoch = std::chrono::sys_days{std::chrono::year{2000} / 1 / 1};
constexpr base::Time kLatestTime = std::chrono::sys_days{std::chrono::year{9999} / 12 / 31};

std::uint8_t operation_of(ByteView head) { return head[kRecordInfoOffset] & kOperationMask; }

struct DataPlace {
  std::size_t at = 0;
  std::size_t size = 0;
};

// Where the main data stand; they may reach beyond `record`.
std::optional<DataPlace> find_data(ByteView record) {
  std::size_t at = kRecordHeaderSize;
  while (at < record.size() && (record[at] == kIdOrigin || record[at] == kIdToplevelXid)) {
    at += record[at] == kIdOrigin ? kOriginSize : kToplevelXidSize;
  }
  if (at + kShortDataHeaderSize <= record.size() && record[at] == kIdShortData) {
    return DataPlace{at + kShortDataHeaderSize, record[at + 1]};
  }
  if (at + kLongDataHeaderSize <= record.size() && record[at] == kIdLongData) {
    return DataPlace{at + kLongDataHeaderSize, load<std::uint32_t>(&record[at + 1])};
  }
  return std::nullopt;
}

// As much of the main data as is in `record`.
ByteView data_of(ByteView record) {
  const std::optional<DataPlace> place = find_data(record);
  if (!place || place->at > record.size()) return {};
  return record.subspan(place->at, std::min(place->size, record.size() - place->at));
}

// Takes integers from the front of the data until they end.
class Cursor {
 public:
  explicit Cursor(ByteView rest) : rest_(rest) {}

  bool skip(std::size_t size) {
    if (size > rest_.size()) return false;
    rest_ = rest_.subspan(size);
    return true;
  }
  std::optional<std::uint32_t> u32() {
    if (rest_.size() < sizeof(std::uint32_t)) return std::nullopt;
    const auto value = load<std::uint32_t>(rest_.data());
    skip(sizeof value);
    return value;
  }
  bool skip_list(const List& list) {
    const std::optional<std::uint32_t> count = u32();
    return count && skip(*count * list.item_size);
  }

 private:
  ByteView rest_;
};

std::optional<std::uint32_t> prepared_xid(ByteView record, std::uint16_t page_magic) {
  Cursor cursor(data_of(record));
  if (!has_transaction_info(record) || !cursor.skip(kTransactionTimeSize)) return std::nullopt;
  const std::uint32_t info = cursor.u32().value_or(0);
  if ((info & kHasTwoPhase) == 0) return std::nullopt;
  if ((info & kHasDatabase) != 0 && !cursor.skip(kTransactionDatabaseSize)) return std::nullopt;
  const List statistics = page_magic >= kMagic18 ? kDroppedStatistics18 : kDroppedStatistics;
  for (const List& list : {kSubtransactions, kRelations, statistics, kInvalidations}) {
    if ((info & list.bit) != 0 && !cursor.skip_list(list)) return std::nullopt;
  }
  return cursor.u32();
}

}  // namespace

bool ends_prepared_transaction(ByteView head) {
  return head[kRecordManagerOffset] == kRmTransaction &&
         (operation_of(head) == kCommitPrepared || operation_of(head) == kAbortPrepared);
}

bool ends_transaction(ByteView head) {
  return ends_prepared_transaction(head) ||
         (head[kRecordManagerOffset] == kRmTransaction &&
          (operation_of(head) == kCommit || operation_of(head) == kAbort));
}

bool is_restore_point(ByteView head) {
  return head[kRecordManagerOffset] == kRmXlog &&
         (head[kRecordInfoOffset] & 0xF0) == kXlogRestorePoint;
}

bool is_switch(ByteView head) {
  return head[kRecordManagerOffset] == kRmXlog && (head[kRecordInfoOffset] & 0xF0) == kXlogSwitch;
}

bool has_transaction_info(ByteView head) { return (head[kRecordInfoOffset] & kHasInfo) != 0; }

std::optional<base::Time> record_time(ByteView head) {
  const ByteView data = data_of(head);
  if (data.size() < kTransactionTimeSize) return std::nullopt;
  const auto since_epoch = static_cast<std::int64_t>(load<std::uint64_t>(data.data()));
  if (since_epoch < 0 || since_epoch > (kLatestTime - kPostgresEpoch).count()) return std::nullopt;
  return kPostgresEpoch + base::Duration{since_epoch};
}

std::optional<std::uint32_t> ended_xid(ByteView record, std::uint16_t page_magic) {
  const std::optional<std::uint32_t> xid =
      ends_prepared_transaction(record)
          ? prepared_xid(record, page_magic)
          : std::optional(load<std::uint32_t>(&record[kRecordXidOffset]));
  return xid == 0U ? std::nullopt : xid;
}

std::optional<std::string> restore_point_name(ByteView record) {
  ByteView data = data_of(record);
  if (data.size() < kTransactionTimeSize) return std::nullopt;
  data = data.subspan(kTransactionTimeSize);
  data = data.first(std::min(data.size(), kMaxNameSize));
  const auto end = std::ranges::find(data, std::uint8_t{0});
  if (end == data.end()) return std::nullopt;
  return std::string(data.begin(), end);
}

bool is_whole_without_blocks(ByteView record) {
  const std::optional<DataPlace> place = find_data(record);
  return place && place->at + place->size == record.size();
}

}  // namespace holdfast::postgres
