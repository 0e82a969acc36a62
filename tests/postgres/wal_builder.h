// Makes WAL segments as a server would, record by record, for tests.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "postgres/crc32c.h"
#include "postgres/wal_name.h"

namespace holdfast::postgres {

class WalBuilder {
 public:
  static constexpr std::uint32_t kPageSize = 8192;
  static constexpr std::uint64_t kSystemId = 7'000'000'000'000'000'001;

  // `continued_size` bytes of a record that began in the segment before come first; or `continued`.
  explicit WalBuilder(Lsn start, std::uint32_t segment_size = 1 << 20,
                      std::uint32_t continued_size = 0, base::ByteView continued = {})
      : start_(start), segment_size_(segment_size), bytes_(segment_size), previous_(start - 64) {
    begin_page(continued_size, 0);
    if (continued_size != 0) {
      append(continued.empty() ? base::Bytes(continued_size, 0xCC)
                               : base::Bytes(continued.begin(), continued.end()));
      align();
    }
  }

  // Returns where the record begins. What does not fit into the segment is cut off.
  Lsn record(std::uint8_t manager, std::uint8_t info, base::ByteView payload) {
    if (at_ % kPageSize == 0 && at_ < bytes_.size()) {
      begin_page(0, 0);
    }
    const Lsn lsn = start_ + at_;
    base::ByteWriter header;
    header.u32(static_cast<std::uint32_t>(24 + payload.size()));
    header.u32(xid_);
    header.u64(previous_);
    header.u8(info);
    header.u8(manager);
    header.u16(0);
    const std::uint32_t crc = crc32c(crc32c(0, payload), header.view());
    header.u32(crc);
    base::Bytes record = header.take();
    record.insert(record.end(), payload.begin(), payload.end());
    append(record);
    align();
    previous_ = lsn;
    return lsn;
  }

  Lsn filler(std::size_t payload_size) { return record(10, 0, base::Bytes(payload_size, 0xF1)); }

  // The end of a transaction at that many microseconds since 2000.
  Lsn transaction_end(std::uint8_t info, std::uint64_t time, std::size_t more = 0) {
    base::ByteWriter payload;
    payload.u8(255);
    payload.u8(static_cast<std::uint8_t>(8 + more));
    payload.u64(time);
    payload.raw(base::Bytes(more, 0xAA));
    return record(1, info, payload.view());
  }

  // pg_create_restore_point()
  Lsn restore_point(std::string_view name, std::uint64_t time) {
    base::ByteWriter payload;
    payload.u8(255);
    payload.u8(72);
    payload.u64(time);
    payload.raw(base::as_bytes(name));
    payload.raw(base::Bytes(64 - name.size()));
    return record(0, 0x70, payload.view());
  }

  // COMMIT PREPARED with all the lists that may stand before the transaction's number.
  Lsn commit_prepared(std::uint32_t xid, std::uint64_t time) {
    base::ByteWriter data;
    data.u64(time);
    data.u32(0x1F | 0x100);  // xl_xact_xinfo
    data.raw(base::Bytes(8));
    for (const std::size_t item_size : {4, 12, 12, 16}) {
      data.u32(3);
      data.raw(base::Bytes(3 * item_size, 0xBB));
    }
    data.u32(xid);
    data.raw(base::as_bytes("the transaction's name"));
    base::ByteWriter payload;
    payload.u8(255);
    payload.u8(static_cast<std::uint8_t>(data.size()));
    payload.raw(data.view());
    xid_ = 0;
    return record(1, 0xB0, payload.view());
  }

  void set_xid(std::uint32_t xid) { xid_ = xid; }  // of the records that follow

  // Begins the next page as a server does that found the last record unfinished. The rest of this
  // page keeps what it has.
  void overwrite_next_page(Lsn last_complete) {
    at_ = (at_ + kPageSize - 1) / kPageSize * kPageSize;
    begin_page(0, 0x0008);
    previous_ = last_complete;
  }

  // Where the record before the next one begins.
  void set_previous(Lsn lsn) { previous_ = lsn; }
  Lsn previous() const { return previous_; }
  void set_timeline(std::uint32_t timeline) { timeline_ = timeline; }  // for the pages that follow
  std::size_t at() const { return at_; }
  Lsn lsn() const { return start_ + at_; }
  // How many payload bytes make the next record end that far before the page's end.
  std::size_t payload_up_to(std::size_t before_page_end) const {
    const std::size_t page_end = (at_ / kPageSize + 1) * kPageSize;
    return page_end - at_ - 24 - before_page_end;
  }
  base::Bytes& bytes() { return bytes_; }

 private:
  void begin_page(std::uint32_t continued_size, std::uint16_t flags) {
    const bool is_long = at_ == 0;
    base::ByteWriter header;
    header.u16(0xD110);
    header.u16(static_cast<std::uint16_t>(flags | 0x0004 | (is_long ? 2 : 0) |
                                          (continued_size != 0 ? 1 : 0)));
    header.u32(timeline_);
    header.u64(start_ + at_);
    header.u32(continued_size);
    header.u32(0);
    if (is_long) {
      header.u64(kSystemId);
      header.u32(segment_size_);
      header.u32(kPageSize);
    }
    put(header.view());
  }

  void append(base::ByteView record) {
    while (!record.empty() && at_ < bytes_.size()) {
      if (at_ % kPageSize == 0) {
        begin_page(static_cast<std::uint32_t>(record.size()), 0);
      }
      const std::size_t room = kPageSize - at_ % kPageSize;
      const std::size_t taken = std::min(room, record.size());
      put(record.first(taken));
      record = record.subspan(taken);
    }
  }

  void put(base::ByteView piece) {
    std::copy(piece.begin(), piece.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(at_));
    at_ += piece.size();
  }

  void align() { at_ = (at_ + 7) & ~std::size_t{7}; }

  Lsn start_;
  std::uint32_t segment_size_;
  base::Bytes bytes_;
  Lsn previous_;
  std::uint32_t timeline_ = 1;
  std::uint32_t xid_ = 700;
  std::size_t at_ = 0;
};

}  // namespace holdfast::postgres
