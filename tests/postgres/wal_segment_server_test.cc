// scan_segment() against pg_waldump: what it finds in WAL that a server wrote.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "base/file.h"
#include "postgres/temporary_server.h"
#include "postgres/timeline.h"
#include "postgres/wal_segment.h"

namespace holdfast::postgres {
namespace {

constexpr std::uint32_t kSize = 1 << 20;

struct Expected {
  Lsn last_record = 0;
  std::optional<base::Time> first_commit;
  std::optional<base::Time> last_commit;
};

// By segment number, from lines such as
// "rmgr: Transaction len (rec/tot): 34/ 34, tx: 731, lsn: 0/0150F6B8, prev 0/0150F678, desc: COMMIT
// 2024-01-17 12:00:00.123456 UTC".
std::map<std::uint64_t, Expected> read_waldump(const std::string& text) {
  std::map<std::uint64_t, Expected> segments;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t lsn_at = line.find("lsn: ") + 5;
    const auto lsn = parse_lsn(line.substr(lsn_at, line.find(',', lsn_at) - lsn_at));
    if (!lsn) {
      continue;
    }
    Expected& segment = segments[segment_number(*lsn, kSize)];
    const std::size_t inside = kSize - *lsn % kSize;
    if (inside >= 24) {  // its header fits
      segment.last_record = *lsn;
    }
    // Header, data header (long where there are more than 255 bytes of data), time.
    const std::size_t size =
        std::stoul(line.substr(line.find('/', line.find("(rec/tot):") + 9) + 1));
    if (inside < 24U + (size > 24 + 2 + 255 ? 5 : 2) + 8) {
      continue;
    }
    for (const std::string name : {"COMMIT ", "ABORT ", "COMMIT_PREPARED ", "ABORT_PREPARED "}) {
      const std::size_t at = line.find("desc: " + name);
      if (at == std::string::npos || !line.starts_with("rmgr: Transaction")) {
        continue;
      }
      // A prepared transaction's number comes before its time.
      std::size_t begin = line.find_first_of("0123456789", at);
      if (const std::size_t colon = line.find(": ", begin);
          colon != std::string::npos && colon < line.find('-', begin)) {
        begin = colon + 2;
      }
      const auto time = base::parse_time(line.substr(begin, line.find(" UTC", begin) - begin), {});
      if (!time) {
        ADD_FAILURE() << line;
        continue;
      }
      segment.first_commit = std::min(segment.first_commit.value_or(*time), *time);
      segment.last_commit = std::max(segment.last_commit.value_or(*time), *time);
    }
  }
  return segments;
}

using Marks =
    std::set<std::pair<std::string, Lsn>>;  // transactions' numbers, restore points' names

// From the same lines; a prepared transaction's is "desc: COMMIT_PREPARED 731: 2024-…", a restore
// point's "desc: RESTORE_POINT name".
Marks marks_in_waldump(const std::string& text) {
  Marks marks;
  std::istringstream lines(text);
  const auto word_behind = [](const std::string& line, const std::string& before) {
    const std::size_t at = line.find(before) + before.size();
    return line.substr(at, line.find_first_of(",:; ", at) - at);
  };
  for (std::string line; std::getline(lines, line);) {
    const bool transaction = line.starts_with("rmgr: Transaction");
    for (const std::string name : {"desc: COMMIT_PREPARED ", "desc: ABORT_PREPARED ",
                                   "desc: RESTORE_POINT ", "desc: COMMIT ", "desc: ABORT "}) {
      if (line.find(name) == std::string::npos) continue;
      if (!transaction && !name.starts_with("desc: RESTORE")) continue;
      const bool own = name == "desc: COMMIT " || name == "desc: ABORT ";
      std::string number = line.substr(line.find("tx:") + 3);
      number.erase(0, number.find_first_not_of(' '));
      marks.emplace(own ? number.substr(0, number.find(',')) : word_behind(line, name),
                    *parse_lsn(word_behind(line, "lsn: ")));
    }
  }
  return marks;
}

// A server whose finished segments are archived into directory() / "archive".
class SegmentsOfAServer : public testing::Test {
 protected:
  void SetUp() override {
    HOLDFAST_NEED_SERVER();
    server_.emplace(std::vector<std::string>{"--wal-segsize=1"});
    archive_ = server_->data() / "archive";
    server_->run("mkdir", {archive_});
    server_->start(
        "wal_level = logical\nmax_prepared_transactions = 5\nautovacuum = off\n"
        "min_wal_size = '32MB'\narchive_mode = on\n"
        "archive_command = 'cp %p archive/%f'\n");
  }

  WalSegmentInfo scan(SegmentName name) const {
    return scan_segment(base::read_file(archive_ / format_segment_name(name, kSize), kSize));
  }

  std::vector<WalFileName> archived(WalFileKind kind) const {
    std::vector<WalFileName> names;
    for (const auto& entry : std::filesystem::directory_iterator(archive_)) {
      const auto name = parse_wal_file_name(entry.path().filename().native());
      if (name && name->kind == kind) {
        names.push_back(*name);
      }
    }
    std::ranges::sort(names, {}, &WalFileName::text);
    return names;
  }

  std::optional<TemporaryServer> server_;
  std::filesystem::path archive_;
};

// Small and huge records, commits, aborts, prepared and nested transactions, a switch, and segments
// recycled from older ones.
constexpr const char* kWorkload = R"(
CREATE TABLE t2 (id int); INSERT INTO t2 VALUES (1);
CREATE TABLE t (id serial PRIMARY KEY, text text);
DO $$ BEGIN FOR i IN 1..3000 LOOP
  INSERT INTO t (text) VALUES (repeat('x', (i * 37) % 900));
  IF i % 7 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
END LOOP; END $$;
SELECT pg_logical_emit_message(false, 'a', repeat('y', 3500000)) IS NULL;
BEGIN; INSERT INTO t (text) VALUES ('p'); PREPARE TRANSACTION 'one'; COMMIT PREPARED 'one';
BEGIN; INSERT INTO t (text) VALUES ('q'); PREPARE TRANSACTION 'two'; ROLLBACK PREPARED 'two';
BEGIN; INSERT INTO t (text) VALUES ('r'); SAVEPOINT s; INSERT INTO t (text) VALUES ('s'); COMMIT;
SELECT pg_create_restore_point('point-one') IS NULL;
SELECT pg_switch_wal() IS NULL;
BEGIN; CREATE TABLE v (id int); DROP TABLE t2; PREPARE TRANSACTION 'three'; COMMIT PREPARED 'three';
CREATE TABLE u AS SELECT i, md5(i::text) FROM generate_series(1, 50000) i;
DROP TABLE u;
CHECKPOINT;
DO $$ BEGIN FOR i IN 1..2000 LOOP
  UPDATE t SET text = text || 'z' WHERE id = i; COMMIT;
END LOOP; END $$;
CHECKPOINT;
DO $$ BEGIN FOR i IN 1..3500 LOOP
  UPDATE t SET text = text || 'z' WHERE id = i; COMMIT;
END LOOP; END $$;
)";

TEST_F(SegmentsOfAServer, AreReadAsPgWaldumpDoes) {
  server_->sql(kWorkload);
  server_->stop();
  const auto names = archived(WalFileKind::kSegment);
  ASSERT_GE(names.size(), 8U);
  const SegmentName first = *parse_segment_name(names.front().text, kSize);
  const std::string waldump =
      server_
          ->try_run("pg_waldump",
                    {"-p", archive_, "-s", format_lsn(segment_start(first.number, kSize))})
          .out;
  auto expected = read_waldump(waldump);
  Marks certain, all;
  std::size_t with_times = 0;
  for (const WalFileName& name : names) {
    const SegmentName segment = *parse_segment_name(name.text, kSize);
    const WalSegmentInfo info = scan(segment);
    const Expected& want = expected[segment.number];
    EXPECT_EQ(format_lsn(info.last_record), format_lsn(want.last_record)) << name.text;
    EXPECT_EQ(info.first_commit, want.first_commit) << name.text;
    EXPECT_EQ(info.last_commit, want.last_commit) << name.text;
    EXPECT_EQ(format_lsn(info.end), format_lsn(segment_start(segment.number + 1, kSize)));
    with_times += info.last_commit ? 1 : 0;
    for (const TransactionEnd& end : info.ends) {
      all.emplace(std::to_string(end.xid), end.lsn);
      if (end.certain) certain.emplace(std::to_string(end.xid), end.lsn);
    }
    for (const RestorePoint& point : info.restore_points) {
      all.emplace(point.name, point.lsn);
      certain.emplace(point.name, point.lsn);
    }
    EXPECT_FALSE(info.marks_missing);
  }
  EXPECT_GT(with_times, 5U);

  const Marks marks = marks_in_waldump(waldump);
  EXPECT_GT(marks.size(), 7000U);
  EXPECT_TRUE(std::ranges::includes(all, marks));
  EXPECT_TRUE(std::ranges::includes(marks, certain));
}

// The segment that the server is at work in: behind its end stands what an older one had there.
TEST_F(SegmentsOfAServer, EndWhereTheServerIsAtWork) {
  server_->sql(kWorkload);
  const std::string name =
      server_->sql("SELECT pg_walfile_name(pg_current_wal_lsn())").substr(0, 24);
  const auto copy = server_->directory() / name;
  server_->run("cp", {server_->wal() / name, copy});
  const base::Bytes bytes = base::read_file(copy, kSize);

  const auto expected = read_waldump(server_->try_run("pg_waldump", {copy}).out);
  ASSERT_EQ(expected.size(), 1U);
  const WalSegmentInfo info = scan_segment(bytes);
  const Expected& want = expected.begin()->second;
  EXPECT_EQ(format_lsn(info.last_record), format_lsn(want.last_record));
  EXPECT_EQ(info.first_commit, want.first_commit);
  EXPECT_EQ(info.last_commit, want.last_commit);
  const auto behind = static_cast<std::ptrdiff_t>(info.end - info.start) + 8192;
  ASSERT_LT(behind, kSize);
  EXPECT_TRUE(std::any_of(bytes.begin() + behind, bytes.end(), [](auto byte) { return byte != 0; }))
      << "nothing was recycled: this tests less than it should";
}

TEST_F(SegmentsOfAServer, AreFollowedOverATimelineSwitch) {
  server_->sql("CREATE TABLE t AS SELECT generate_series(1, 1000) i;");
  server_->stop();
  server_->run("touch", {server_->data() / "standby.signal"});
  server_->start();
  server_->run("pg_ctl", {"-D", server_->data(), "-w", "promote"});
  server_->sql("CREATE TABLE u AS SELECT generate_series(1, 1000) i; SELECT pg_switch_wal();");
  server_->stop();

  ASSERT_EQ(archived(WalFileKind::kHistory).size(), 1U);
  const auto history =
      TimelineHistory::parse(2, base::read_text_file(archive_ / history_file_name(2), 1 << 20));
  const Lsn at = history.end_of(1).value();
  const SegmentName switched{.timeline = 2, .number = segment_number(at, kSize)};
  const WalSegmentInfo after = scan(switched);
  EXPECT_EQ(after.timeline, 1U);  // of the first page, which was copied
  EXPECT_EQ(after.end, segment_start(switched.number + 1, kSize));
  EXPECT_GT(after.last_record, at);

  // What the old timeline had of that segment.
  ASSERT_EQ(archived(WalFileKind::kPartial).size(), 1U);
  const auto partial = archive_ / archived(WalFileKind::kPartial)[0].text;
  const WalSegmentInfo before = scan_segment(base::read_file(partial, kSize));
  EXPECT_EQ(format_lsn(before.end), format_lsn(at));
}

}  // namespace
}  // namespace holdfast::postgres
