#include "postgres/record_changes.h"

#include <algorithm>
#include <optional>

#include "postgres/little_endian.h"
#include "postgres/wal_record.h"

namespace holdfast::postgres {
namespace {

using base::ByteView;

constexpr std::uint16_t kMagic14 = 0xD10D;
constexpr std::uint16_t kMagic15 = 0xD110;

constexpr std::uint8_t kOperationBits = 0xF0;  // of the info; the rest are XLogInsert's own

// XLogRecordBlockHeader and what follows it.
constexpr int kMaxBlockId = 32;
constexpr std::uint8_t kForkMask = 0x0F;
constexpr std::uint8_t kHasImage = 0x10;
constexpr std::uint8_t kSameRelation = 0x80;
constexpr std::uint8_t kImageHasHole = 0x01;
constexpr std::uint8_t kImageCompressed13 = 0x02;
constexpr std::uint8_t kImageCompressed15 = 0x04 | 0x08 | 0x10;  // pglz, lz4, zstd
constexpr std::size_t kImageHeaderSize = 5;
constexpr std::size_t kHoleLengthSize = 2;
constexpr std::uint32_t kInvalidBlock = 0xFFFFFFFF;

// RM_SMGR_ID
constexpr std::uint8_t kStorageCreate = 0x10;
constexpr std::uint8_t kStorageTruncate = 0x20;
constexpr std::uint32_t kTruncateMainFork = 0x1;
// RM_DBASE_ID
constexpr std::uint8_t kDatabaseCreate = 0x00;  // from 15 on with the strategy file_copy
constexpr std::uint8_t kDatabaseDrop13 = 0x10;
constexpr std::uint8_t kDatabaseCreateWalLog15 = 0x10;
constexpr std::uint8_t kDatabaseDrop15 = 0x20;
// RM_XLOG_ID: xl_parameter_change has wal_level after five other integers.
constexpr std::uint8_t kParameterChange = 0x60;
constexpr std::size_t kBeforeWalLevel = 20;
constexpr std::uint32_t kWalLevelMinimal = 0;

// Goes through `size` bytes of which only the first are at hand. Once a value is not there, all
// that follow are 0, and state() says why.
class Reader {
 public:
  Reader(ByteView visible, std::size_t size) : visible_(visible), size_(size) {}

  std::uint8_t u8() { return take<std::uint8_t>(); }
  std::uint16_t u16() { return take<std::uint16_t>(); }
  std::uint32_t u32() { return take<std::uint32_t>(); }
  RelationId relation() {
    RelationId id;
    id.tablespace = u32();
    id.database = u32();
    id.number = u32();
    return id;
  }
  void skip(std::uint64_t size) { reach(size); }

  bool good() const { return state_ == RecordReading::kDone; }
  RecordReading state() const { return state_; }
  std::size_t left() const { return size_ - at_; }

 private:
  template <typename Integer>
  Integer take() {
    const std::size_t from = at_;
    return reach(sizeof(Integer)) ? load<Integer>(&visible_[from]) : Integer{};
  }
  bool reach(std::uint64_t size) {
    if (!good()) return false;
    if (size > size_ - at_) {
      state_ = RecordReading::kMalformed;
    } else if (at_ + size > visible_.size()) {
      state_ = RecordReading::kCut;
    } else {
      at_ += static_cast<std::size_t>(size);
    }
    return good();
  }

  ByteView visible_;
  std::size_t size_;
  std::size_t at_ = 0;
  RecordReading state_ = RecordReading::kDone;
};

struct MainData {
  RecordReading reading = RecordReading::kDone;  // of the headers before them
  std::size_t size = 0;
};

// The headers of a record's blocks, some of which build on the one before.
class BlockHeaders {
 public:
  BlockHeaders(std::uint16_t page_magic, ChangeCollector& changes)
      : compressed_(page_magic >= kMagic15 ? kImageCompressed15 : kImageCompressed13),
        changes_(changes) {}

  // How much data of the block stands behind all headers; nullopt for a header that cannot be. What
  // is cut shows in `reader`.
  std::optional<std::size_t> read(std::uint8_t id, Reader& reader) {
    if (id > kMaxBlockId || id <= last_id_) return std::nullopt;
    last_id_ = id;
    const std::uint8_t flags = reader.u8();
    std::size_t data_size = reader.u16();
    if ((flags & kHasImage) != 0) {
      data_size += read_image_header(reader);
    }
    if ((flags & kSameRelation) == 0) {
      relation_ = reader.relation();
    }
    const std::uint32_t block = reader.u32();
    if (!reader.good()) return 0;
    if (!relation_ || block == kInvalidBlock) return std::nullopt;
    if ((flags & kForkMask) == 0) changes_.change(*relation_, block);
    return data_size;
  }

 private:
  std::size_t read_image_header(Reader& reader) const {
    const std::size_t size = reader.u16();
    reader.u16();  // where the hole begins
    const std::uint8_t info = reader.u8();
    if ((info & kImageHasHole) != 0 && (info & compressed_) != 0) reader.skip(kHoleLengthSize);
    return size;
  }

  std::uint8_t compressed_;
  ChangeCollector& changes_;
  int last_id_ = -1;
  std::optional<RelationId> relation_;
};

// Up to the main data, which come last: before them the data of the blocks, in their order.
MainData read_headers(ByteView record, std::size_t size, std::uint16_t page_magic,
                      ChangeCollector& changes) {
  constexpr MainData kMalformed = {RecordReading::kMalformed};
  Reader reader(record, size);
  reader.skip(kRecordHeaderSize);
  BlockHeaders blocks(page_magic, changes);
  std::size_t data_size = 0;  // of all that the headers announce
  while (reader.good() && reader.left() > data_size) {
    const std::uint8_t id = reader.u8();
    if (!reader.good()) break;
    if (id == kIdShortData || id == kIdLongData) {
      const std::size_t main_size = id == kIdShortData ? reader.u8() : reader.u32();
      if (reader.good() && reader.left() != data_size + main_size) return kMalformed;
      return {reader.state(), main_size};
    }
    if (id == kIdOrigin) {
      reader.skip(kOriginSize - 1);
    } else if (id == kIdToplevelXid && page_magic >= kMagic14) {
      reader.skip(kToplevelXidSize - 1);
    } else {
      const std::optional<std::size_t> more = blocks.read(id, reader);
      if (!more) return kMalformed;
      data_size += *more;
    }
  }
  if (reader.good() && reader.left() != data_size) return kMalformed;
  return {reader.state()};
}

RecordReading read_storage(std::uint8_t operation, Reader reader, ChangeCollector& changes) {
  if (operation == kStorageCreate) {
    const RelationId relation = reader.relation();
    const std::uint32_t fork = reader.u32();
    if (reader.good() && fork == 0) changes.create(relation);
  } else if (operation == kStorageTruncate) {
    const std::uint32_t blocks_left = reader.u32();
    const RelationId relation = reader.relation();
    const std::uint32_t forks = reader.u32();
    if (reader.good() && (forks & kTruncateMainFork) != 0) changes.truncate(relation, blocks_left);
  } else {
    return RecordReading::kMalformed;
  }
  return reader.state();
}

RecordReading read_database(std::uint8_t operation, Reader reader, std::uint16_t page_magic,
                            ChangeCollector& changes) {
  const bool is_15 = page_magic >= kMagic15;
  const std::uint32_t database = reader.u32();
  if (operation == (is_15 ? kDatabaseDrop15 : kDatabaseDrop13)) {
    for (std::uint32_t left = reader.u32(); left > 0 && reader.good(); --left) {
      const std::uint32_t tablespace = reader.u32();
      if (reader.good()) changes.drop(DatabaseId{tablespace, database});
    }
  } else if (operation == kDatabaseCreate || (is_15 && operation == kDatabaseCreateWalLog15)) {
    const std::uint32_t tablespace = reader.u32();
    if (reader.good()) changes.create(DatabaseId{tablespace, database});
  } else {
    return RecordReading::kMalformed;
  }
  return reader.state();
}

// The relations that go with the end of a transaction.
RecordReading read_transaction_end(ByteView record, Reader reader, ChangeCollector& changes) {
  if (!has_transaction_info(record)) return RecordReading::kDone;
  reader.skip(kTransactionTimeSize);
  const std::uint32_t info = reader.u32();
  if ((info & kHasRelations) == 0) return reader.state();
  if ((info & kHasDatabase) != 0) reader.skip(kTransactionDatabaseSize);
  if ((info & kHasSubtransactions) != 0) {
    const std::uint64_t count = reader.u32();
    reader.skip(count * kSubtransactionSize);
  }
  for (std::uint32_t left = reader.u32(); left > 0 && reader.good(); --left) {
    const RelationId relation = reader.relation();
    if (reader.good()) changes.drop(relation);
  }
  return reader.state();
}

RecordReading read_parameters(Reader reader) {
  reader.skip(kBeforeWalLevel);
  const std::uint32_t wal_level = reader.u32();
  return reader.good() && wal_level == kWalLevelMinimal ? RecordReading::kUnlogged : reader.state();
}

}  // namespace

RecordReading read_record_changes(ByteView record, std::size_t size, std::uint16_t page_magic,
                                  ChangeCollector& changes) {
  const MainData data = read_headers(record, size, page_magic, changes);
  if (data.reading != RecordReading::kDone) return data.reading;

  const std::uint8_t manager = record[kRecordManagerOffset];
  if (manager > kRmDatabase) return RecordReading::kDone;  // nearly all
  const std::uint8_t operation = record[kRecordInfoOffset] & kOperationBits;
  const std::size_t at = std::min(size - data.size, record.size());
  const Reader reader(record.subspan(at), data.size);
  if (manager == kRmStorage) return read_storage(operation, reader, changes);
  if (manager == kRmDatabase) return read_database(operation, reader, page_magic, changes);
  if (ends_transaction(record)) return read_transaction_end(record, reader, changes);
  if (manager == kRmXlog && operation == kParameterChange) return read_parameters(reader);
  return RecordReading::kDone;
}

}  // namespace holdfast::postgres
