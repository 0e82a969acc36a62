// The changes of a stretch of WAL over segments and timelines, in hand-made WAL.

#include "postgres/changes_between.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "postgres/segment_section.h"
#include "postgres/wal_archive.h"
#include "postgres/wal_records.h"
#include "repository/fixture.h"
#include "storage/temporary_directory.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kSize = 1 << 20;
constexpr Lsn kStart = 0x100'00000;  // of the first segment
constexpr RelationId kTable = {1663, 5, 16384};
constexpr std::uint8_t kHeap = 10;

base::Bytes change(std::uint32_t block) {
  return block_payload({{.relation = kTable, .block = block, .data_size = 20}}, 10);
}

class ChangesBetween : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(directory_.path() / "pg_wal");
    stretch_ = {.system_id = WalBuilder::kSystemId,
                .from_timeline = 1,
                .from = kStart + 40,
                .previous_stop = kStart + 40,
                .to_timeline = 1,
                .to = kStart + 3 * kSize + 40,
                .segment_size = kSize,
                .data_directory = directory_.path()};
  }

  static std::string name_of(std::uint32_t timeline, std::uint64_t segment) {
    return format_segment_name({timeline, kStart / kSize + segment}, kSize);
  }
  fs::path path_of(std::uint32_t timeline, std::uint64_t segment) const {
    return directory_.path() / "pg_wal" / name_of(timeline, segment);
  }
  static WalBuilder segment(std::uint64_t number, Lsn previous) {
    WalBuilder wal(kStart + number * kSize, kSize);
    wal.set_previous(previous);
    return wal;
  }
  // Ends the segment as pg_switch_wal() does. The place of the last record.
  Lsn finish(WalBuilder& wal, std::uint32_t timeline) {
    const Lsn last = wal.record(0, 0x40, {});
    write(wal, timeline);
    return last;
  }
  void write(WalBuilder& wal, std::uint32_t timeline) {
    const Lsn start = wal.lsn() - wal.at();
    base::write_file_durably(path_of(timeline, (start - kStart) / kSize), wal.bytes(), 0600);
  }
  // Segments 0 to 2, each of which changes the block of its number, and a beginning of segment 3.
  void write_plain() {
    Lsn last = kStart - 64;
    for (std::uint32_t i = 0; i < 3; ++i) {
      WalBuilder wal = segment(i, last);
      wal.record(kHeap, 0, change(i));
      last = finish(wal, 1);
    }
    WalBuilder open = segment(3, last);
    open.record(kHeap, 0, change(3));
    write(open, 1);
  }
  // With its file removed.
  void archive(std::uint32_t timeline, std::uint64_t segment) {
    push_wal(context(), path_of(timeline, segment), 1);
    fs::remove(path_of(timeline, segment));
  }
  void write_history(std::uint32_t timeline, const std::string& text) {
    base::write_file_durably(directory_.path() / "pg_wal" / history_file_name(timeline),
                             base::as_bytes(text), 0600);
  }

  repository::Context context() { return repository_.context(); }
  Changes find() { return changes_between(context(), stretch_, 3, {}); }
  void expect_blocks(const std::set<std::uint32_t>& blocks) {
    const Changes changes = find();
    EXPECT_EQ(changes.gap, "");
    EXPECT_FALSE(changes.diverged);
    EXPECT_EQ(blocks_of(changes.map, kTable), blocks);
  }
  void expect_gap(const std::string& words, bool diverged = false) {
    const Changes changes = find();
    EXPECT_NE(changes.gap.find(words), std::string::npos) << changes.gap;
    EXPECT_EQ(changes.diverged, diverged);
    EXPECT_TRUE(changes.map.relations.empty());
  }

  storage::TemporaryDirectory directory_;
  repository::TestRepository repository_;
  WalStretch stretch_;
};

TEST_F(ChangesBetween, AreThoseOfAllSegments) {
  write_plain();
  expect_blocks({0, 1, 2, 3});
  EXPECT_EQ(find().segments, 4U);
  for (const std::uint64_t segment : {1, 0, 2}) {
    archive(1, segment);
    expect_blocks({0, 1, 2, 3});
  }
  stretch_.from = kStart + 2 * kSize + 40;
  expect_blocks({2, 3});
  stretch_.to = kStart + 3 * kSize;
  expect_blocks({2});
}

TEST_F(ChangesBetween, AreNotToldWithAGap) {
  write_plain();
  for (const std::uint64_t segment : {0, 1, 2}) archive(1, segment);
  const std::string object = wal_object_name(WalBuilder::kSystemId, name_of(1, 1));
  const auto whole = repository_.storage->get(object, 1 << 24).value();

  repository_.storage->remove(object);
  expect_gap(name_of(1, 1) + " is neither in the repository nor in pg_wal");
  base::Bytes damaged = whole;
  damaged[160] ^= 1;
  repository_.storage->put(object, damaged);
  expect_gap("the change map of the WAL segment " + name_of(1, 1) + " is damaged");
  repository_.storage->remove(object);
  repository::put_log(context(), object, base::Bytes(kSize), {}, 1);
  expect_gap("is damaged");  // without any section
  repository_.storage->remove(object);

  // The first of several is named.
  repository_.storage->remove(wal_object_name(WalBuilder::kSystemId, name_of(1, 2)));
  expect_gap(name_of(1, 1));
}

TEST_F(ChangesBetween, TakeTheFileWhereTheArchivedMapIsOfNoUse) {
  write_plain();
  const base::Bytes content = base::read_file(path_of(1, 1), kSize);
  WalSegmentInfo info = scan_segment(content);
  const std::string object = wal_object_name(WalBuilder::kSystemId, name_of(1, 1));
  repository::put_log(context(), object, content, {encode_segment_section(info, {})}, 1);
  expect_blocks({0, 1, 2, 3});
  fs::remove(path_of(1, 1));
  expect_gap(name_of(1, 1) + " was archived without a change map");
}

TEST_F(ChangesBetween, NeedWholeFiles) {
  write_plain();
  const base::Bytes content = base::read_file(path_of(1, 1), kSize);
  const auto rewrite = [&](base::Bytes changed) {
    base::write_file_durably(path_of(1, 1), changed, 0600);
  };
  base::Bytes changed = content;
  changed[24] ^= 1;  // another cluster's
  rewrite(changed);
  expect_gap("neither");
  rewrite(base::read_file(path_of(1, 2), kSize));  // another segment
  expect_gap("neither");
  changed = content;
  changed.resize(100);  // not finished
  changed.resize(content.size());
  rewrite(changed);
  expect_gap("neither");
  rewrite(content);
  expect_blocks({0, 1, 2, 3});

  // The server has not come that far.
  stretch_.to = kStart + 3 * kSize + 4096;
  expect_gap(name_of(1, 3));
}

TEST_F(ChangesBetween, AreOfOneHistoryOnly) {
  write_plain();
  archive(1, 1);
  // The cluster was set back to the end of segment 0 and wrote other WAL since.
  WalBuilder other = segment(1, kStart + kSize - 200);
  other.record(kHeap, 0, change(50));
  other.record(kHeap, 0, change(51));
  const Lsn last = finish(other, 1);
  WalBuilder third = segment(2, last);
  third.record(kHeap, 0, change(52));
  finish(third, 1);
  expect_gap("does not go on where", /*diverged=*/true);
}

TEST_F(ChangesBetween, FollowARecordOverTheEndOfASegment) {
  const base::Bytes create = main_payload({1663, 5, 999, 0});
  WalBuilder whole(kStart);
  whole.record(2, 0x10, create);
  const base::Bytes bytes(whole.bytes().begin() + 40,
                          whole.bytes().begin() + 40 + 24 + static_cast<int>(create.size()));
  WalBuilder first(kStart, kSize);
  while (first.at() + WalBuilder::kPageSize < kSize)
    first.record(kHeap, 0, block_payload({}, 3000));
  first.record(kHeap, 0, block_payload({}, first.payload_up_to(16) - 5));
  const Lsn cut = first.record(2, 0x10, create);
  write(first, 1);
  const base::ByteView rest = base::ByteView(bytes).subspan(16);
  WalBuilder second(kStart + kSize, kSize, static_cast<std::uint32_t>(rest.size()), rest);
  second.set_previous(cut);
  finish(second, 1);

  stretch_.to = kStart + kSize + 104;
  EXPECT_TRUE(find().map.relations.at({1663, 5, 999}).created);
  archive(1, 0);
  archive(1, 1);
  EXPECT_TRUE(find().map.relations.at({1663, 5, 999}).created);
}

// Timeline 2 branches off within segment 1, after the change of block 1.
class ChangesOverASwitch : public ChangesBetween {
 protected:
  void SetUp() override {
    ChangesBetween::SetUp();
    WalBuilder first = segment(0, kStart - 64);
    first.record(kHeap, 0, change(0));
    const Lsn last = finish(first, 1);

    WalBuilder old_second = segment(1, last);
    const Lsn common = old_second.record(kHeap, 0, change(1));
    switch_ = old_second.lsn();
    old_second.record(kHeap, 0, change(90));  // never applied
    WalBuilder old_third = segment(2, finish(old_second, 1));
    old_third.record(kHeap, 0, change(91));
    finish(old_third, 1);

    WalBuilder second = segment(1, last);
    EXPECT_EQ(second.record(kHeap, 0, change(1)), common);
    second.record(kHeap, 0, change(2));
    WalBuilder third(kStart + 2 * kSize, kSize, 0, {});
    third.set_previous(finish(second, 2));
    third.record(kHeap, 0, change(3));
    write(third, 2);

    stretch_.to_timeline = 2;
    stretch_.to = kStart + 2 * kSize + 40;
    write_history(2, fmt::format("1\t{}\tno recovery target specified\n", format_lsn(switch_)));
  }

  Lsn switch_ = 0;
};

TEST_F(ChangesOverASwitch, AreThoseOfTheNewTimeline) {
  expect_blocks({0, 1, 2, 3});
  for (const std::uint64_t segment : {0, 1, 2}) archive(1, segment);
  expect_blocks({0, 1, 2, 3});
  archive(2, 1);
  push_wal(context(), directory_.path() / "pg_wal/00000002.history", 1, WalBuilder::kSystemId);
  fs::remove(directory_.path() / "pg_wal/00000002.history");
  expect_blocks({0, 1, 2, 3});
  EXPECT_EQ(find().segments, 3U);
}

TEST_F(ChangesOverASwitch, AreNotThoseOfTheOldOneInstead) {
  archive(1, 1);
  fs::remove(path_of(2, 1));
  expect_gap(name_of(2, 1) + " is neither");
}

TEST_F(ChangesOverASwitch, NeedABackupOnTheWay) {
  stretch_.previous_stop = switch_;
  expect_blocks({0, 1, 2, 3});
  stretch_.previous_stop = switch_ + 8;
  expect_gap("no way leads", /*diverged=*/true);
  stretch_.previous_stop = switch_;
  stretch_.from_timeline = 3;
  expect_gap("no way leads", /*diverged=*/true);
  stretch_.from_timeline = 1;
  fs::remove(directory_.path() / "pg_wal/00000002.history");
  expect_gap("history of timeline 2 cannot be read", /*diverged=*/true);
  write_history(2, "nonsense\n");
  expect_gap("history of timeline 2 cannot be read", /*diverged=*/true);
}

TEST_F(ChangesBetween, NeverGoBack) {
  write_plain();
  stretch_.to = stretch_.from - 8;
  expect_gap("no way leads", /*diverged=*/true);
}

// The switch falls on a segment's end, where the old timeline has a record that it never finished.
TEST_F(ChangesBetween, LeaveOutWhatWasGivenUp) {
  WalBuilder first(kStart, kSize);
  while (first.at() + WalBuilder::kPageSize < kSize) first.record(kHeap, 0, change(1));
  first.record(kHeap, 0, block_payload({}, first.payload_up_to(32) - 5));
  first.record(2, 0x10, main_payload({1663, 5, 999, 0}));
  write(first, 1);
  WalBuilder second = segment(1, kStart);
  second.bytes()[2] |= 8;  // it begins with what takes the record's place
  second.record(kHeap, 0, change(2));
  finish(second, 2);
  write_history(2, fmt::format("1\t{}\tcrash\n", format_lsn(kStart + kSize)));
  stretch_.to_timeline = 2;
  stretch_.to = kStart + kSize + 104;
  expect_blocks({1, 2});
  EXPECT_FALSE(find().map.relations.contains({1663, 5, 999}));
}

TEST_F(ChangesBetween, EndWhereTheyWereNotLogged) {
  Lsn last = kStart - 64;
  for (std::uint32_t i = 0; i < 4; ++i) {
    WalBuilder wal = segment(i, last);
    if (i == 1) wal.record(0, 0x60, main_payload({100, 8, 10, 0, 64, 0, 0}));
    last = finish(wal, 1);
    push_wal(context(), path_of(1, i), 1);
  }
  expect_gap("the change map of the WAL segment " + name_of(1, 1) + " ends at");
}

TEST_F(ChangesBetween, CanBeStopped) {
  write_plain();
  std::stop_source stop;
  stop.request_stop();
  const base::Error error =
      repository::error_of([&] { changes_between(context(), stretch_, 2, stop.get_token()); });
  EXPECT_EQ(error.kind(), base::ErrorKind::kInterrupted);
}

}  // namespace
}  // namespace holdfast::postgres
