#include "postgres/wal_segment.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "postgres/change_collector.h"
#include "postgres/crc32c.h"
#include "postgres/little_endian.h"
#include "postgres/record_changes.h"
#include "postgres/wal_record.h"

namespace holdfast::postgres {
namespace {

// XLogPageHeaderData; the first page of a segment has the long form.
constexpr std::size_t kShortHeaderSize = 24;
constexpr std::size_t kLongHeaderSize = 40;
constexpr std::size_t kFlagsOffset = 2;
constexpr std::size_t kTimelineOffset = 4;
constexpr std::size_t kAddressOffset = 8;
constexpr std::size_t kContinuedSizeOffset = 16;
constexpr std::uint16_t kFirstIsContinuation = 0x0001;
constexpr std::uint16_t kLongHeader = 0x0002;
constexpr std::uint16_t kFirstIsOverwrite =
    0x0008;  // 0x0004 stands on most pages: XLP_BKP_REMOVABLE

constexpr std::uint16_t kOldestMagic = 0xD106;
struct MagicVersion {
  std::uint16_t magic;
  int version;
};
constexpr std::array kMagicVersions = {MagicVersion{kOldestMagic, 13}, MagicVersion{0xD10D, 14},
                                       MagicVersion{0xD110, 15},       MagicVersion{0xD113, 16},
                                       MagicVersion{0xD116, 17},       MagicVersion{0xD118, 18}};

// A record whose header is cut by the segment's end has 8 or 16 bytes before it: records begin
// on 8.
constexpr std::array<std::size_t, 2> kCutHeaders = {8, 16};
constexpr std::size_t kMaxCutRecord = 64 * 1024;

[[noreturn]] void fail(std::string_view problem) {
  throw base::Error(base::ErrorKind::kFailed,
                    fmt::format("this is not a WAL segment: {}", problem));
}

void check_magic(std::uint16_t magic) {
  const int high = magic >> 8;
  if (high != 0xD1 && (magic & 0xFF) == 0xD1) {
    fail("its byte order is another machine's");
  }
  if (high == 0xD0 || (high == 0xD1 && magic < kOldestMagic)) {
    throw base::Error(base::ErrorKind::kFailed,
                      fmt::format("the WAL segment comes from an older server than Holdfast knows "
                                  "(its page magic is {:04X})",
                                  magic),
                      "Holdfast backs up PostgreSQL 13 and later.");
  }
  if (high != 0xD1) {
    fail(fmt::format("it begins with {:04X}", magic));
  }
}

std::size_t round_up_to_8(std::size_t size) { return (size + 7) & ~std::size_t{7}; }

// Follows the chain of records through a segment. Positions are offsets in `bytes_`; every read is
// preceded by a check that it lies inside, and every step goes forward.
class Walk {
 public:
  // `changes` may be null.
  Walk(base::ByteView bytes, WalSegmentInfo& info, SegmentChanges* changes)
      : bytes_(bytes),
        info_(info),
        changes_(changes),
        page_mask_(info.page_size - 1),
        timeline_(info.timeline),
        covering_(changes != nullptr && server_version_of_page_magic(info.page_magic) != 0) {}

  void run();

 private:
  enum class Outcome {
    kWhole,    // ends at `at`
    kPastEnd,  // reaches past the last byte given
    kBroken,   // the page at `at` does not continue it
  };
  struct Walked {
    Outcome outcome;
    std::size_t at;
  };

  template <typename Piece>
  Walked walk_record(std::size_t at, std::size_t size, Piece&& piece);
  bool enter_page(std::size_t page, std::size_t continued_size);
  bool next_record();
  bool take_record(base::ByteView head, std::size_t size, Walked walked);
  bool crc_fits(base::ByteView head, std::size_t size);
  void take_cut_record(base::ByteView rest);
  void take_end(base::ByteView head, std::size_t size);
  void take_restore_point(base::ByteView record, Lsn lsn);
  void take_changes(base::ByteView head, std::size_t size, Walked walked);
  void take_tail(base::ByteView visible);
  void note_place(Lsn previous);
  void finish_changes();
  base::Bytes copy_record(std::size_t size);

  std::size_t header_size_of(std::size_t page) const {
    const bool is_long = (load<std::uint16_t>(&bytes_[page + kFlagsOffset]) & kLongHeader) != 0;
    return is_long ? kLongHeaderSize : kShortHeaderSize;
  }
  std::size_t page_end(std::size_t at) const {
    return std::min((at | page_mask_) + 1, bytes_.size());
  }

  base::ByteView bytes_;
  WalSegmentInfo& info_;
  SegmentChanges* changes_;
  std::size_t page_mask_;     // pages have a power of two of bytes
  std::uint32_t timeline_;    // of the page entered last: where timelines switch it grows
  bool overwritten_ = false;  // that page begins with what replaces a record left unfinished
  std::size_t at_ = 0;        // where the next record begins
  Lsn previous_ = 0;          // the record before it, if that began in this segment
  ChangeCollector collector_;
  bool covering_;  // as long as it is known what every record changes
};

void Walk::run() {
  at_ = kLongHeaderSize;
  bool goes_on = true;
  if ((load<std::uint16_t>(&bytes_[kFlagsOffset]) & kFirstIsContinuation) != 0) {
    const std::size_t rest = load<std::uint32_t>(&bytes_[kContinuedSizeOffset]);
    base::Bytes copy;
    const Walked walked = walk_record(at_, rest, [&copy](base::ByteView piece) {
      piece = piece.first(std::min(piece.size(), kMaxCutRecord - copy.size()));
      copy.insert(copy.end(), piece.begin(), piece.end());
    });
    if (walked.outcome == Outcome::kWhole && rest <= kMaxCutRecord) take_cut_record(copy);
    if (changes_ != nullptr) {
      copy.resize(std::min(copy.size(), SegmentChanges::kMaxFront));
      changes_->continued_size = static_cast<std::uint32_t>(rest);
      changes_->front = std::move(copy);
    }
    at_ = round_up_to_8(walked.at);
    goes_on = walked.outcome == Outcome::kWhole || overwritten_;
  }
  while (goes_on) {
    goes_on = next_record();
  }
  info_.end = info_.start + std::min<std::size_t>(at_, info_.segment_size);
  if (changes_ != nullptr) finish_changes();
}

// Calls piece(view) for each stretch of the `size` bytes from `at`, leaving out the page headers.
template <typename Piece>
Walk::Walked Walk::walk_record(std::size_t at, std::size_t size, Piece&& piece) {
  while (true) {
    const std::size_t taken = std::min(size, page_end(at) - at);
    piece(bytes_.subspan(at, taken));
    size -= taken;
    at += taken;
    if (size == 0) {
      return {Outcome::kWhole, at};
    }
    if (at == bytes_.size()) {
      return {Outcome::kPastEnd, at};
    }
    if (!enter_page(at, size)) {
      return {Outcome::kBroken, at};
    }
    at += header_size_of(at);
  }
}

// Checks a page's header as the server does: a recycled segment is full of valid pages of older
// WAL. `continued_size` is what the page must say is left of the record that reaches into it.
bool Walk::enter_page(std::size_t page, std::size_t continued_size) {
  overwritten_ = false;
  if (bytes_.size() - page < kLongHeaderSize) {
    return false;
  }
  const std::uint8_t* header = &bytes_[page];
  const std::uint16_t flags = load<std::uint16_t>(header + kFlagsOffset);
  const std::uint32_t timeline = load<std::uint32_t>(header + kTimelineOffset);
  if (load<std::uint16_t>(header) != info_.page_magic || timeline < timeline_ ||
      load<std::uint64_t>(header + kAddressOffset) != info_.start + page) {
    return false;
  }
  timeline_ = timeline;
  if ((flags & kFirstIsContinuation) == 0) {
    overwritten_ = (flags & kFirstIsOverwrite) != 0;
    return continued_size == 0;
  }
  return continued_size != 0 &&
         load<std::uint32_t>(header + kContinuedSizeOffset) == continued_size;
}

// False where the chain ends; at_ is then its end.
bool Walk::next_record() {
  std::size_t at = at_;
  if ((at & page_mask_) == 0) {
    if (at >= bytes_.size() || !enter_page(at, 0)) {
      return false;
    }
    at += header_size_of(at);
  }
  if (at + sizeof(std::uint64_t) > bytes_.size()) {
    return false;
  }
  const std::size_t size = load<std::uint32_t>(&bytes_[at]);
  if (size < kRecordHeaderSize) {
    return false;
  }
  at_ = at;
  if (size <= page_end(at) - at) {  // nearly all
    return take_record(bytes_.subspan(at, size), size, {Outcome::kWhole, at + size});
  }
  std::array<std::uint8_t, kMaxRecordHead> copy;
  std::size_t copied = 0;
  const Walked walked = walk_record(at, size, [&copy, &copied](base::ByteView piece) {
    const std::size_t taken = std::min(piece.size(), copy.size() - copied);
    std::memcpy(copy.data() + copied, piece.data(), taken);
    copied += taken;
  });
  return take_record(base::ByteView{copy}.first(copied), size, walked);
}

// `head` is the beginning of the record at at_, `walked` its end.
bool Walk::take_record(base::ByteView head, std::size_t size, Walked walked) {
  if (walked.outcome == Outcome::kBroken) {
    // A server that died while it wrote the record goes on in the page where the rest is missing.
    at_ = overwritten_ ? walked.at : at_;
    return overwritten_;
  }
  if (head.size() < kRecordHeaderSize) {  // the rest of its header is in the next segment
    if (const auto xid = load<std::uint32_t>(&head[kRecordXidOffset]); xid != 0) {
      info_.ends.push_back({xid, info_.start + at_, /*certain=*/false});
    }
    if (covering_) take_tail(head);
    if (changes_ != nullptr) changes_->last_record = info_.start + at_;
    at_ = bytes_.size();
    return false;
  }
  const Lsn previous = load<std::uint64_t>(&head[kRecordPreviousOffset]);
  if (previous_ == 0 ? previous >= info_.start : previous != previous_) {
    return false;
  }
  const bool whole = walked.outcome == Outcome::kWhole;
  if (ends_transaction(head) || is_restore_point(head)) {
    if (whole && !crc_fits(head, size)) {
      return false;
    }
    if (is_restore_point(head)) {
      take_restore_point(head, info_.start + at_);
    } else {
      take_end(head, size);
    }
  }
  if (covering_) take_changes(head, size, walked);
  if (changes_ != nullptr) note_place(previous);
  previous_ = info_.last_record = info_.start + at_;
  if (is_switch(head)) {  // what follows is padding
    at_ = info_.segment_size;
    return false;
  }
  at_ = round_up_to_8(walked.at);
  return whole;
}

// A record's CRC covers what follows its header, then the header up to the CRC.
bool Walk::crc_fits(base::ByteView head, std::size_t size) {
  std::uint32_t crc = 0;
  std::size_t header_left = kRecordHeaderSize;
  walk_record(at_, size, [&crc, &header_left](base::ByteView piece) {
    const std::size_t skipped = std::min(header_left, piece.size());
    header_left -= skipped;
    crc = crc32c(crc, piece.subspan(skipped));
  });
  crc = crc32c(crc, head.first(kRecordCrcOffset));
  return crc == load<std::uint32_t>(&head[kRecordCrcOffset]);
}

void Walk::take_end(base::ByteView head, std::size_t size) {
  if (const auto time = record_time(head)) {
    info_.first_commit = std::min(info_.first_commit.value_or(*time), *time);
    info_.last_commit = std::max(info_.last_commit.value_or(*time), *time);
  }
  base::Bytes copy;
  if (ends_prepared_transaction(head)) {
    copy = copy_record(size);
    head = copy;
  }
  if (const auto xid = ended_xid(head, info_.page_magic)) {
    info_.ends.push_back({*xid, info_.start + at_, /*certain=*/true});
  } else {
    info_.marks_missing = true;
  }
}

void Walk::take_restore_point(base::ByteView record, Lsn lsn) {
  if (auto name = restore_point_name(record)) {
    info_.restore_points.push_back(
        {std::move(*name), record_time(record).value_or(base::Time{}), lsn});
  } else {
    info_.marks_missing = true;
  }
}

// All of the record at at_ that is here.
base::Bytes Walk::copy_record(std::size_t size) {
  base::Bytes copy;
  walk_record(at_, size, [&copy](base::ByteView piece) {
    copy.insert(copy.end(), piece.begin(), piece.end());
  });
  return copy;
}

void Walk::take_changes(base::ByteView head, std::size_t size, Walked walked) {
  const auto read = [&] { return read_record_changes(head, size, info_.page_magic, collector_); };
  RecordReading reading = read();
  base::Bytes copy;
  if (reading == RecordReading::kCut) {
    copy = copy_record(size);
    head = copy;
    reading = read();
  }
  if (reading == RecordReading::kCut && walked.outcome == Outcome::kPastEnd) {
    take_tail(head);
  } else if (reading != RecordReading::kDone) {
    covering_ = false;
    changes_->covered_to = info_.start + at_;
  }
}

// Of the record at at_, behind the one at `previous`.
void Walk::note_place(Lsn previous) {
  if (previous_ == 0) changes_->record_before = previous;
  changes_->last_record = info_.start + at_;
}

// Of the record at at_, which the end of the bytes cuts.
void Walk::take_tail(base::ByteView visible) {
  if (visible.size() <= SegmentChanges::kMaxTail && bytes_.size() == info_.segment_size) {
    changes_->tail.assign(visible.begin(), visible.end());
  } else {
    covering_ = false;
    changes_->covered_to = info_.start + at_;
  }
}

void Walk::finish_changes() {
  changes_->page_magic = info_.page_magic;
  const auto flags = load<std::uint16_t>(&bytes_[kFlagsOffset]);
  changes_->overwrites = (flags & (kFirstIsOverwrite | kFirstIsContinuation)) == kFirstIsOverwrite;
  if (covering_) changes_->covered_to = info_.end;
  if (auto map = collector_.take()) {
    changes_->map = std::move(*map);
  } else {
    changes_->covered_to = info_.start;
  }
}

// `rest` is what the segment before left of its last record. Where that segment had not even the
// whole header, it could not tell what the record is. How many bytes it had is not said here: they
// are right if the rest has the form of a restore point or of the end of a prepared transaction.
// (Another transaction's number stands in the first 8 bytes, and was seen there.)
void Walk::take_cut_record(base::ByteView rest) {
  for (const std::size_t before : kCutHeaders) {
    base::Bytes record(before);
    record.insert(record.end(), rest.begin(), rest.end());
    if (record.size() < kRecordHeaderSize || !is_whole_without_blocks(record)) continue;
    const Lsn lsn = info_.start - before;
    if (is_restore_point(record)) {
      take_restore_point(record, lsn);
    } else if (ends_prepared_transaction(record)) {
      const auto xid = ended_xid(record, info_.page_magic);
      if (xid) info_.ends.push_back({*xid, lsn, /*certain=*/true});
    }
  }
}

}  // namespace

int server_version_of_page_magic(std::uint16_t magic) {
  const auto found = std::ranges::find(kMagicVersions, magic, &MagicVersion::magic);
  return found == kMagicVersions.end() ? 0 : found->version;
}

WalSegmentInfo read_segment_header(base::ByteView first_page) {
  if (first_page.size() < kLongHeaderSize) {
    fail(fmt::format("it has only {} bytes", first_page.size()));
  }
  base::ByteReader reader(first_page, "WAL segment");
  WalSegmentInfo info;
  info.page_magic = reader.u16();
  check_magic(info.page_magic);
  const std::uint16_t flags = reader.u16();
  info.timeline = reader.u32();
  info.start = reader.u64();
  reader.u32();  // the size of what is continued
  reader.u32();  // padding
  info.system_id = reader.u64();
  info.segment_size = reader.u32();
  info.page_size = reader.u32();
  info.end = info.start;

  if ((flags & kLongHeader) == 0) {
    fail("its first page has not the header of a segment's first page");
  }
  if (info.timeline == 0 || info.system_id == 0) {
    fail("its timeline or its system identifier is 0");
  }
  if (!is_segment_size(info.segment_size)) {
    fail(fmt::format("it says that its size is {} bytes", info.segment_size));
  }
  if (!std::has_single_bit(info.page_size) || info.page_size < 1024 || info.page_size > 65536) {
    fail(fmt::format("it says that its pages have {} bytes", info.page_size));
  }
  if (info.start % info.segment_size != 0 || info.start + info.segment_size < info.start) {
    fail(fmt::format("no segment begins at {}", format_lsn(info.start)));
  }
  if (server_version_of_page_magic(info.page_magic) == 0) {
    info.note = fmt::format(
        "The WAL is of a PostgreSQL version that this Holdfast does not know (its page magic is "
        "{:04X}).",
        info.page_magic);
  }
  return info;
}

namespace {

WalSegmentInfo scan(base::ByteView segment, SegmentChanges* changes) {
  WalSegmentInfo info = read_segment_header(segment);
  if (segment.size() > info.segment_size) {
    fail(fmt::format("it has {} bytes, and says that its size is {}", segment.size(),
                     info.segment_size));
  }
  Walk(segment, info, changes).run();
  return info;
}

}  // namespace

WalSegmentInfo scan_segment(base::ByteView segment) { return scan(segment, nullptr); }

WalSegmentInfo scan_segment(base::ByteView segment, SegmentChanges& changes) {
  changes = {};
  return scan(segment, &changes);
}

}  // namespace holdfast::postgres
