// The change maps of segments that a server wrote, against pg_waldump and against the pages.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <set>
#include <sstream>

#include "base/file.h"
#include "postgres/changes_between.h"
#include "postgres/control_file.h"
#include "postgres/temporary_server.h"
#include "postgres/wal_archive.h"
#include "postgres/wal_records.h"
#include "postgres/wal_segment.h"
#include "repository/fixture.h"

namespace holdfast::postgres {
namespace {

constexpr std::uint32_t kSize = 1 << 20;

struct ExpectedRelation {
  std::set<std::uint32_t> blocks;
  std::uint32_t whole_from = UINT32_MAX;
  bool created = false, truncated = false, dropped = false;
};

struct Expected {
  std::map<RelationId, ExpectedRelation> relations;
  std::set<DatabaseId> created, dropped;
};

std::uint32_t number(const std::string& text) {
  return static_cast<std::uint32_t>(std::stoul(text));
}

// "base/5/16384", "global/1262", "pg_tblspc/16400/PG_15_202209061/5/16411"; nullopt where a fork
// other than the main one follows.
std::optional<RelationId> relation_at(const std::string& path) {
  std::smatch match;
  if (path.ends_with("_vm") || path.ends_with("_fsm") || path.ends_with("_init")) return {};
  if (std::regex_match(path, match, std::regex("base/(\\d+)/(\\d+)")))
    return RelationId{1663, number(match[1]), number(match[2])};
  if (std::regex_match(path, match, std::regex("global/(\\d+)")))
    return RelationId{1664, 0, number(match[1])};
  if (std::regex_match(path, match, std::regex("pg_tblspc/(\\d+)/[^/]+/(\\d+)/(\\d+)")))
    return RelationId{number(match[1]), number(match[2]), number(match[3])};
  ADD_FAILURE() << path;
  return {};
}

void read_storage(const std::string& line, Expected& expected) {
  std::smatch match;
  if (std::regex_search(line, match, std::regex("desc: CREATE (\\S+)"))) {
    if (const auto id = relation_at(match[1])) {
      expected.relations[*id].created = true;
      expected.relations[*id].whole_from = 0;
    }
  } else if (std::regex_search(line, match,
                               std::regex("desc: TRUNCATE (\\S+) to (\\d+) blocks flags (\\d+)"))) {
    if ((number(match[3]) & 1) == 0) return;
    ExpectedRelation& relation = expected.relations[relation_at(match[1]).value()];
    relation.truncated = true;
    relation.whole_from = std::min(relation.whole_from, number(match[2]));
  } else {
    ADD_FAILURE() << line;
  }
}

void read_database(const std::string& line, Expected& expected) {
  std::smatch match;
  if (std::regex_search(line, match, std::regex("desc: CREATE\\w* .*?(\\d+)/(\\d+)$"))) {
    expected.created.insert({number(match[1]), number(match[2])});
    return;
  }
  const std::size_t at = line.find("desc: DROP dir");
  ASSERT_NE(at, std::string::npos) << line;
  const std::regex place("(\\d+)/(\\d+)");
  for (std::sregex_iterator each(line.begin() + static_cast<std::ptrdiff_t>(at), line.end(), place);
       each != std::sregex_iterator(); ++each) {
    expected.dropped.insert({number((*each)[1]), number((*each)[2])});
  }
}

// "desc: COMMIT 2024-… UTC; rels: base/5/16384 base/5/16387; inval msgs: …"
void read_transaction(const std::string& line, Expected& expected) {
  if (line.find("desc: COMMIT") == line.npos && line.find("desc: ABORT") == line.npos) return;
  const std::size_t at = line.find("; rels:");
  if (at == line.npos) return;
  std::istringstream words(line.substr(at + 7, line.find(';', at + 1) - at - 7));
  for (std::string word; words >> word;) {
    expected.relations[relation_at(word).value()].dropped = true;
  }
}

// By the number of the segment in which a record begins.
std::map<std::uint64_t, Expected> read_waldump(const std::string& text) {
  std::map<std::uint64_t, Expected> segments;
  Expected* segment = nullptr;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("rmgr: ")) {
      const std::size_t at = line.find("lsn: ") + 5;
      const Lsn lsn = parse_lsn(line.substr(at, line.find(',', at) - at)).value();
      segment = &segments[segment_number(lsn, kSize)];
      if (line.starts_with("rmgr: Storage")) read_storage(line, *segment);
      if (line.starts_with("rmgr: Database")) read_database(line, *segment);
      if (line.starts_with("rmgr: Transaction")) read_transaction(line, *segment);
      continue;
    }
    RelationId id;
    std::uint32_t block = 0;
    int used = 0;
    if (std::sscanf(line.c_str(), "\tblkref #%*d: rel %u/%u/%u fork main blk %u%n", &id.tablespace,
                    &id.database, &id.number, &block, &used) == 4) {
      segment->relations[id].blocks.insert(block);
    } else {
      EXPECT_TRUE(line.find(" fork ") != line.npos || line.empty()) << line;
    }
  }
  return segments;
}

void expect_same(const ChangeMap& map, const Expected& expected) {
  std::set<RelationId> known, wanted;
  for (const auto& [id, changes] : map.relations) known.insert(id);
  for (const auto& [id, relation] : expected.relations) {
    wanted.insert(id);
    const auto found = map.relations.find(id);
    if (found == map.relations.end()) continue;
    const RelationChanges& changes = found->second;
    EXPECT_EQ(changes.whole_from, relation.whole_from) << id.number;
    EXPECT_EQ(changes.created, relation.created) << id.number;
    EXPECT_EQ(changes.truncated, relation.truncated) << id.number;
    EXPECT_EQ(changes.dropped, relation.dropped && !relation.created) << id.number;
    const std::set<std::uint32_t> listed(relation.blocks.begin(),
                                         relation.blocks.lower_bound(relation.whole_from));
    EXPECT_EQ(blocks_of(map, id), listed) << id.number;
  }
  EXPECT_EQ(known, wanted);
  for (const auto& [id, changes] : map.databases) {
    EXPECT_EQ(changes.created, expected.created.contains(id)) << id.database;
    EXPECT_EQ(changes.dropped, expected.dropped.contains(id) && !changes.created) << id.database;
  }
  std::set<DatabaseId> databases = expected.created;
  databases.insert(expected.dropped.begin(), expected.dropped.end());
  EXPECT_EQ(map.databases.size(), databases.size());
}

// Each kind of change that there is, and very many small records, so that segments end within all
// parts of a record.
constexpr const char* kWorkload = R"(
CREATE TABLE t (id serial PRIMARY KEY, n int, text text, box box, list int[]);
INSERT INTO t (n, text, box, list)
  SELECT i % 100, repeat(md5(i::text), 5), box(point(i, i), point(i + 3, i % 50)), ARRAY[i, i % 7]
  FROM generate_series(1, 8000) i;
CREATE INDEX h ON t USING hash (n);
CREATE INDEX gin ON t USING gin (list);
CREATE INDEX gist ON t USING gist (box);
CREATE INDEX spgist ON t USING spgist (box);
CREATE INDEX brin ON t USING brin (id);
CREATE INDEX sp_text ON t USING spgist (text);
CREATE UNLOGGED TABLE unlogged AS SELECT generate_series(1, 1000) i;
CREATE TEMP TABLE temporary AS SELECT generate_series(1, 1000) i;
DO $$ BEGIN FOR i IN 1..6000 LOOP UPDATE t SET n = n + 1 WHERE id = i; END LOOP; END $$;
DO $$ BEGIN FOR i IN 1..1000 LOOP
  INSERT INTO t (n, text, box, list) VALUES (i, 'x', box(point(i, 1), point(2, i)), ARRAY[i]);
  BEGIN INSERT INTO t (n) VALUES (i); IF i % 3 = 0 THEN RAISE division_by_zero; END IF;
  EXCEPTION WHEN division_by_zero THEN NULL; END;
  COMMIT;
END LOOP; END $$;
DELETE FROM t WHERE id % 3 = 0;
VACUUM t;
DELETE FROM t WHERE id > 3000;
VACUUM (FREEZE) t;
CHECKPOINT;
ALTER SYSTEM SET wal_compression = 'pglz'; SELECT pg_reload_conf();
UPDATE t SET n = n + 1;
CHECKPOINT;
ALTER SYSTEM SET wal_compression = 'lz4'; SELECT pg_reload_conf();
UPDATE t SET n = n + 1;
CLUSTER t USING t_pkey;
VACUUM FULL t;
REINDEX TABLE t;
BEGIN; CREATE TABLE gone AS SELECT generate_series(1, 500) i; ROLLBACK;
CREATE TABLE cut AS SELECT i, repeat('x', 500) FROM generate_series(1, 2000) i;
DELETE FROM cut WHERE i > 100; VACUUM cut; INSERT INTO cut VALUES (5, 'y');
TRUNCATE cut;
BEGIN; TRUNCATE cut; INSERT INTO cut VALUES (1); TRUNCATE cut; COMMIT;
BEGIN; CREATE TABLE later (i int); INSERT INTO later VALUES (1); DROP TABLE cut;
PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p';
BEGIN; DROP TABLE later; CREATE TABLE never (i int); PREPARE TRANSACTION 'q'; ROLLBACK PREPARED 'q';
CREATE TABLESPACE place LOCATION '@/place';
ALTER TABLE later SET TABLESPACE place;
CREATE DATABASE logged STRATEGY wal_log;
CREATE DATABASE copied STRATEGY file_copy;
ALTER DATABASE copied SET TABLESPACE place;
DROP DATABASE logged;
ALTER DATABASE copied SET TABLESPACE pg_default;
DROP DATABASE copied;
COPY (SELECT i, md5(i::text) FROM generate_series(1, 20000) i) TO '@/rows';
CREATE TABLE rows (i int, text text);
COPY rows FROM '@/rows';
CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM rows; REFRESH MATERIALIZED VIEW seen;
SELECT setval('t_id_seq', 100000); SELECT count(nextval('t_id_seq')) FROM generate_series(1, 500);
SELECT lo_from_bytea(0, repeat('x', 20000)::bytea);
DO $$ BEGIN FOR i IN 1..300 LOOP
  EXECUTE format('CREATE TABLE many_%s (i int PRIMARY KEY, t text)', i); COMMIT;
END LOOP; END $$;
DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('DROP TABLE many_%s', i); END LOOP; END $$;
SELECT pg_logical_emit_message(true, 'x', repeat('m', 3000000));
DO $$ BEGIN FOR i IN 1..9000 LOOP
  UPDATE rows SET text = 'z' WHERE rows.i = 5; COMMIT;
END LOOP; END $$;
SELECT pg_switch_wal();
)";

TEST(ChangeMapsOfAServer, HoldWhatPgWaldumpShows) {
  HOLDFAST_NEED_SERVER();
  TemporaryServer server({"--wal-segsize=1", "--data-checksums"});
  const auto archive = server.data() / "archive";
  server.run("mkdir", {archive, server.directory() / "place"});
  server.start(
      "wal_level = logical\nmax_prepared_transactions = 5\nautovacuum = off\narchive_mode = on\n"
      "archive_command = 'cp %p archive/%f'\nmax_wal_size = '1GB'\n");
  server.sql(
      std::regex_replace(std::string(kWorkload), std::regex("@"), server.directory().string()));
  server.stop();

  std::vector<SegmentName> names;
  for (const auto& entry : std::filesystem::directory_iterator(archive)) {
    const auto name = parse_segment_name(entry.path().filename().native(), kSize);
    if (name) names.push_back(*name);
  }
  std::ranges::sort(names);
  ASSERT_GT(names.size(), 30U);
  const Lsn first = segment_start(names.front().number, kSize);
  auto expected = read_waldump(
      server.try_run("pg_waldump", {"-b", "-p", archive, "-s", format_lsn(first)}).out);

  TestRandom random(17);
  std::vector<SegmentChanges> changes(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto path = archive / format_segment_name(names[i], kSize);
    base::Bytes content = base::read_file(path, kSize);
    scan_segment(content, changes[i]);
    EXPECT_EQ(changes[i].covered_to, segment_start(names[i].number + 1, kSize)) << path;
    for (int left = 0; left < 5; ++left) {  // damaged ones are safe to read
      for (int flips = 0; flips < 50; ++flips)
        content[40 + random() % (kSize - 40)] = static_cast<std::uint8_t>(random());
      EXPECT_LE(changes_of(content).covered_to, segment_start(names[i].number + 1, kSize));
    }
  }
  std::size_t cut = 0, created = 0, truncated = 0, dropped = 0, databases = 0;
  for (std::size_t i = 0; i + 1 < names.size(); ++i) {
    SCOPED_TRACE(format_segment_name(names[i], kSize));
    ASSERT_EQ(names[i].number + 1, names[i + 1].number);
    repository::LogInfo stored;
    stored.sections.push_back(encode_changes(changes[i]));
    SegmentChanges decoded = decode_changes(stored, "a segment").value();
    cut += decoded.tail.empty() ? 0 : 1;
    ASSERT_EQ(join_segments(decoded, changes[i + 1], decoded.map), SegmentJoin::kDone);
    EXPECT_EQ(changes[i].record_before == 0, changes[i].last_record == 0);
    const Expected& wanted = expected[names[i].number];
    expect_same(decoded.map, wanted);
    for (const auto& [id, relation] : wanted.relations) {
      created += relation.created ? 1 : 0;
      truncated += relation.truncated ? 1 : 0;
      dropped += relation.dropped ? 1 : 0;
    }
    databases += wanted.created.size() + wanted.dropped.size();
  }
  EXPECT_GT(cut, 0U);
  EXPECT_GT(created, 600U);
  EXPECT_GT(truncated, 1U);
  EXPECT_GT(dropped, 600U);
  EXPECT_GE(databases, 7U);
  fmt::print("{} segments, {} of which end within what tells the changes\n", names.size(), cut);
}

struct Snapshot {
  std::uint32_t timeline = 0;
  Lsn redo = 0;
  std::map<RelationId, base::Bytes> files;  // main forks
};

// What a backup would find that starts now.
Snapshot take_snapshot(TemporaryServer& server) {
  std::istringstream line(
      server.sql("CHECKPOINT; SELECT redo_lsn || ' ' || timeline_id FROM pg_control_checkpoint()"));
  Snapshot snapshot;
  std::string redo;
  line >> redo >> snapshot.timeline;
  snapshot.redo = parse_lsn(redo).value();
  for (const auto& entry : std::filesystem::recursive_directory_iterator(
           server.data(), std::filesystem::directory_options::follow_directory_symlink)) {
    const std::string path = std::filesystem::relative(entry.path(), server.data());
    const std::string name = entry.path().filename();
    if (!entry.is_regular_file() || name.find_first_not_of("0123456789") != name.npos) continue;
    if (path.starts_with("base/") || path.starts_with("global/") ||
        path.starts_with("pg_tblspc/")) {
      snapshot.files[relation_at(path).value()] = base::read_file(entry.path(), 1 << 30);
    }
  }
  return snapshot;
}

// Every page that differs is in the map. Unlogged relations are in no backup.
void expect_covered(const Snapshot& before, const Snapshot& after, const ChangeMap& map,
                    const std::set<std::uint32_t>& unlogged) {
  constexpr std::size_t kPage = 8192;
  std::size_t different = 0;
  for (const auto& [id, content] : after.files) {
    const auto database = map.databases.find({id.tablespace, id.database});
    if (database != map.databases.end() && database->second.created) continue;
    if (unlogged.contains(id.number)) continue;
    const auto old = before.files.find(id);
    const auto changes = map.relations.find(id);
    const std::set<std::uint32_t> blocks = blocks_of(map, id);
    for (std::size_t at = 0; at < content.size(); at += kPage) {
      const auto page = base::ByteView(content).subspan(at, kPage);
      const bool is_new = old == before.files.end() || at >= old->second.size();
      if (is_new && std::ranges::all_of(page, [](auto byte) { return byte == 0; })) continue;
      if (!is_new && std::ranges::equal(page, base::ByteView(old->second).subspan(at, kPage))) {
        continue;
      }
      ++different;
      const auto block = static_cast<std::uint32_t>(at / kPage);
      EXPECT_TRUE(changes != map.relations.end() &&
                  (blocks.contains(block) || block >= changes->second.whole_from))
          << fmt::format("{}/{}/{} block {}", id.tablespace, id.database, id.number, block);
    }
  }
  EXPECT_GT(different, 100U);
}

// The pages of the cluster themselves are the judge; half of the maps come from the repository.
TEST(ChangeMapsOfAServer, CoverAllPagesThatChanged) {
  HOLDFAST_NEED_SERVER();
  TemporaryServer server({"--wal-segsize=1", "--data-checksums"});
  server.run("mkdir", {server.directory() / "place"});
  server.start(
      "wal_level = logical\nmax_prepared_transactions = 5\nautovacuum = off\n"
      "archive_mode = on\narchive_command = 'true'\nwal_keep_size = '1GB'\n");
  const auto run = [&](const std::string& statements) {
    server.sql(std::regex_replace(statements, std::regex("@"), server.directory().string()));
  };
  run("CREATE TABLE old AS SELECT i, repeat('x', 100) t FROM generate_series(1, 20000) i;"
      "CREATE TABLE kept AS TABLE old; DELETE FROM kept WHERE i > 3000;");
  repository::TestRepository repository;
  WalStretch stretch{.system_id = system_id_of_data_directory(server.data()),
                     .segment_size = kSize,
                     .data_directory = server.data()};
  Snapshot before = take_snapshot(server);
  const auto check = [&](const std::set<std::uint32_t>& unlogged) {
    const Snapshot after = take_snapshot(server);
    stretch.from_timeline = before.timeline;
    stretch.from = stretch.previous_stop = before.redo;
    stretch.to_timeline = after.timeline;
    stretch.to = after.redo;
    const Changes changes = changes_between(repository.context(), stretch, 2, {});
    EXPECT_EQ(changes.gap, "");
    expect_covered(before, after, changes.map, unlogged);
    before = after;
    return text_of(changes.map);
  };

  run(kWorkload);
  const std::uint32_t unlogged = number(server.sql("SELECT pg_relation_filenode('unlogged')"));
  const Snapshot first = before;
  const std::string from_files = check({unlogged});
  for (std::uint64_t n = segment_number(first.redo, kSize); n < segment_number(before.redo, kSize);
       n += 2) {
    push_wal(repository.context(), server.wal() / format_segment_name({1, n}, kSize), 1);
  }
  stretch.data_directory = server.data();
  EXPECT_EQ(text_of(changes_between(repository.context(), stretch, 2, {}).map), from_files);

  run("UPDATE old SET t = 'y' WHERE i % 50 = 0; VACUUM kept; CREATE TABLE more AS TABLE old;");
  server.stop();
  server.run("touch", {server.data() / "standby.signal"});
  server.start();
  server.run("pg_ctl", {"-D", server.data(), "-w", "promote"});
  run("UPDATE old SET t = 'z' WHERE i % 70 = 0; INSERT INTO kept TABLE old;");
  check({unlogged});
  EXPECT_EQ(stretch.to_timeline, 2U);
}

}  // namespace
}  // namespace holdfast::postgres
