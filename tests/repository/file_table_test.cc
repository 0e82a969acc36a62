#include "repository/file_table.h"

#include <fmt/format.h>

#include <functional>
#include <random>
#include <set>

#include "fixture.h"
#include "sample_backup.h"

namespace holdfast::repository {
namespace {

FileEntry entry_of(const std::string& path) {
  FileEntry entry;
  entry.path = path;
  entry.mode = 0640;
  entry.owner = "postgres";
  entry.group = "ssl-cert";
  entry.uid = 113;
  entry.gid = 4'000'000'000;
  entry.modified = base::Time(std::chrono::microseconds(1'700'000'000'123'456));
  return entry;
}

ChunkId chunk_id(std::uint32_t number) {
  ChunkId id;
  std::mt19937 generator(number);
  for (auto& byte : id.bytes) byte = static_cast<std::uint8_t>(generator());
  return id;
}

std::vector<Extent> extents_of(std::size_t count, std::uint32_t seed = 0) {
  std::vector<Extent> extents(count);
  for (std::size_t i = 0; i < count; ++i) {
    extents[i] = {524'288, chunk_id(seed + static_cast<std::uint32_t>(i)), 0};
    if (i % 10 == 3) extents[i] = {100'000'000'000, {}, 0};
  }
  return extents;
}

std::uint64_t size_of(const std::vector<Extent>& extents) {
  std::uint64_t size = 0;
  for (const Extent& extent : extents) size += extent.length_bytes;
  return size;
}

void expect_same(const std::vector<Extent>& a, const std::vector<Extent>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].length_bytes, b[i].length_bytes);
    EXPECT_EQ(a[i].chunk, b[i].chunk);
    EXPECT_EQ(a[i].chunk_offset, b[i].chunk_offset);
  }
}

std::vector<FileEntry> load(const Context& context, const std::vector<ChunkId>& chunks) {
  const Index index = Index::load(context);
  ChunkReader reader(context, index);
  std::vector<FileEntry> entries;
  load_file_table(chunks, reader, [&](FileEntry&& entry) { entries.push_back(std::move(entry)); });
  return entries;
}

// One entry of each kind of attribute.
std::vector<FileEntry> entries_with_attributes() {
  std::vector<FileEntry> entries;
  entries.push_back(entry_of("a"));
  entries.back().type = FileType::kDirectory;
  entries.back().on_the_way = true;
  entries.push_back(entry_of("a/first"));
  entries.back().modified_ns = 999;
  entries.back().xattrs = {{"user.empty", ""}, {"user.zero", std::string("\0\xff", 2)}};
  entries.back().sighting = Sighting{UINT64_MAX, -1};
  entries.push_back(entry_of("a/second"));
  entries.back().hard_link = "a/first";
  entries.push_back(entry_of("pipe"));
  entries.back().type = FileType::kFifo;
  return entries;
}

TEST(FileTable, RoundTripOfAttributes) {
  TestRepository repository;
  StoreRun run(repository.context());
  const std::vector<FileEntry> entries = entries_with_attributes();
  const auto chunks = store_file_table(entries, *run.writer);
  run.finish();
  const std::vector<FileEntry> back = load(repository.context(), chunks);
  ASSERT_EQ(back.size(), entries.size());
  for (std::size_t i = 0; i < back.size(); ++i) {
    EXPECT_EQ(back[i].path, entries[i].path);
    EXPECT_EQ(back[i].type, entries[i].type);
    EXPECT_EQ(back[i].modified_ns, entries[i].modified_ns);
    EXPECT_EQ(back[i].xattrs, entries[i].xattrs);
    EXPECT_EQ(back[i].hard_link, entries[i].hard_link);
    EXPECT_EQ(back[i].on_the_way, entries[i].on_the_way);
    EXPECT_EQ(back[i].sighting, entries[i].sighting);
  }
}

// Attributes that no writer gives: each must be refused.
TEST(FileTable, RefusesAttributesThatMakeNoSense) {
  const auto refused = [](const std::function<void(std::vector<FileEntry>&)>& change) {
    TestRepository repository;
    StoreRun run(repository.context());
    std::vector<FileEntry> entries = entries_with_attributes();
    change(entries);
    const auto chunks = store_file_table(entries, *run.writer);
    run.finish();
    EXPECT_EQ(error_of([&] { load(repository.context(), chunks); }).kind(),
              base::ErrorKind::kDamaged);
  };
  refused([](auto& entries) { entries[1].modified_ns = 1000; });
  refused([](auto& entries) { entries[1].on_the_way = true; });
  refused([](auto& entries) { entries[1].hard_link = "a/second"; });
  refused([](auto& entries) { entries[2].hard_link = "/etc/passwd"; });
  refused([](auto& entries) { entries[2].hard_link = "a/../first"; });
  refused([](auto& entries) { entries[0].hard_link = "A"; });
  refused([](auto& entries) { entries[1].xattrs = {{"", "value"}}; });
  refused([](auto& entries) { entries[1].xattrs = {{"b", ""}, {"a", ""}}; });
  refused([](auto& entries) { entries[1].xattrs = {{std::string(256, 'a'), ""}}; });
}

TEST(FileTable, RoundTrip) {
  TestRepository repository;
  StoreRun run(repository.context());
  std::vector<FileEntry> entries;
  entries.push_back(entry_of("base"));
  entries.back().type = FileType::kDirectory;
  entries.push_back(entry_of("base/1"));
  entries.back().extents = extents_of(8);
  entries.back().size_bytes = size_of(entries.back().extents);
  entries.push_back(entry_of("base/2"));
  entries.back().extents = extents_of(2000);
  entries.back().extents[77] = {5, chunk_id(9), 4'194'299};
  entries.back().size_bytes = size_of(entries.back().extents);
  const std::vector<Extent> many = entries.back().extents;
  entries.push_back(entry_of("b\xffse/odd \n name"));
  entries.back().modified = base::Time(std::chrono::microseconds(-1));
  entries.push_back(entry_of("pg_wal"));
  entries.back().type = FileType::kSymlink;
  entries.back().link_target = "/srv/wal";
  for (FileEntry& entry : entries) store_extents(entry, *run.writer);
  EXPECT_TRUE(entries[1].extent_chunks.empty());
  EXPECT_TRUE(entries[2].extents.empty());
  EXPECT_GT(entries[2].extent_chunks.size(), 1u);
  const std::vector<ChunkId> chunks = store_file_table(entries, *run.writer);
  run.finish();

  // Metadata: a write-only host can build on it.
  const std::vector<FileEntry> loaded = load(repository.write_only_context(), chunks);
  ASSERT_EQ(loaded.size(), entries.size());
  for (std::size_t i = 0; i < loaded.size(); ++i) {
    EXPECT_EQ(loaded[i].path, entries[i].path);
    EXPECT_EQ(loaded[i].type, entries[i].type);
    EXPECT_EQ(loaded[i].mode, entries[i].mode);
    EXPECT_EQ(loaded[i].owner, entries[i].owner);
    EXPECT_EQ(loaded[i].uid, entries[i].uid);
    EXPECT_EQ(loaded[i].group, entries[i].group);
    EXPECT_EQ(loaded[i].gid, entries[i].gid);
    EXPECT_EQ(loaded[i].modified, entries[i].modified);
    EXPECT_EQ(loaded[i].size_bytes, entries[i].size_bytes);
    EXPECT_EQ(loaded[i].link_target, entries[i].link_target);
  }
  const Context context = repository.write_only_context();
  const Index index = Index::load(context);
  ChunkReader reader(context, index);
  expect_same(load_extents(loaded[1], reader), entries[1].extents);
  expect_same(load_extents(loaded[2], reader), many);
}

TEST(FileTable, AnEmptyTableHasNoChunks) {
  TestRepository repository;
  StoreRun run(repository.context());
  EXPECT_TRUE(store_file_table({}, *run.writer).empty());
  run.finish();
  EXPECT_TRUE(load(repository.context(), {}).empty());
}

TEST(FileTable, AChangeIsLocal) {
  TestRepository repository;
  StoreRun run(repository.context());
  std::vector<FileEntry> entries;
  for (int i = 0; i < 5000; ++i) entries.push_back(entry_of(fmt::format("base/{:05}", i)));
  const std::vector<ChunkId> before = store_file_table(entries, *run.writer);
  ASSERT_GT(before.size(), 10u);
  entries[2500].size_bytes = 1;
  entries.erase(entries.begin() + 100);
  const std::vector<ChunkId> after = store_file_table(entries, *run.writer);
  const std::set<ChunkId> known(before.begin(), before.end());
  EXPECT_EQ(std::count_if(after.begin(), after.end(),
                          [&](const ChunkId& id) { return !known.contains(id); }),
            2);
  run.finish();
}

TEST(FileTable, AChangeOfExtentsIsLocal) {
  TestRepository repository;
  StoreRun run(repository.context());
  FileEntry before = entry_of("a");
  before.extents = extents_of(20'000);
  FileEntry after = before;
  after.extents[10'000].chunk = chunk_id(99'999);
  store_extents(before, *run.writer);
  store_extents(after, *run.writer);
  ASSERT_GT(before.extent_chunks.size(), 10u);
  const std::set<ChunkId> known(before.extent_chunks.begin(), before.extent_chunks.end());
  EXPECT_LE(std::count_if(after.extent_chunks.begin(), after.extent_chunks.end(),
                          [&](const ChunkId& id) { return !known.contains(id); }),
            2);
  run.finish();
}

TEST(FileTable, RefusesToStoreWhatCouldNotBeLoaded) {
  TestRepository repository;
  StoreRun run(repository.context());
  const auto refused = [&](std::initializer_list<const char*> paths) {
    std::vector<FileEntry> entries;
    for (const char* path : paths) entries.push_back(entry_of(path));
    EXPECT_EQ(error_of([&] { store_file_table(entries, *run.writer); }).kind(),
              base::ErrorKind::kFailed);
  };
  refused({"b", "a"});
  refused({"a", "a"});
  refused({"/a"});
  run.finish();
}

// What a table says in the place of one string or number.
class HostileTable : public testing::Test {
 protected:
  base::Error load_error(const base::Bytes& piece) {
    StoreRun run(repository.context());
    const ChunkId id = run.writer->put_metadata(piece);
    run.finish();
    return error_of([&] {
      for (const FileEntry& entry : load(repository.context(), {id})) {
        const Context context = repository.context();
        const Index index = Index::load(context);
        ChunkReader reader(context, index);
        load_extents(entry, reader);
      }
    });
  }

  struct Fields {
    std::string path = "a";
    std::uint8_t type = 1;
    std::uint64_t mode = 0600;
    std::uint64_t uid = 0;
    std::uint64_t modified = 0;
    std::uint64_t size = 10;
    std::string link{};
    std::uint8_t place = 0;
    std::uint64_t extents = 1;
    std::uint64_t length = 10;
    std::uint64_t offset = 0;
    ChunkId chunk = chunk_id(1);
  };
  static base::Bytes encode(const Fields& fields) {
    base::ByteWriter out;
    out.string(fields.path);
    out.u8(fields.type);
    out.varint(fields.mode);
    out.string("root");
    out.varint(fields.uid);
    out.string("root");
    out.varint(0);
    out.u64(fields.modified);
    out.varint(fields.size);
    out.string(fields.link);
    out.u8(fields.place);
    out.varint(fields.extents);
    out.varint(fields.length);
    out.raw(fields.chunk.bytes);
    out.varint(fields.offset);
    return out.take();
  }
  void expect_damaged(const Fields& fields) {
    EXPECT_EQ(load_error(encode(fields)).kind(), base::ErrorKind::kDamaged);
  }

  TestRepository repository;
};

TEST_F(HostileTable, IsRefused) {
  for (const std::string path :
       {"", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a/.", "a/.."}) {
    expect_damaged({.path = path});
  }
  expect_damaged({.path = std::string("a\0b", 3)});
  expect_damaged({.path = std::string(4097, 'a')});
  expect_damaged({.type = 0});
  expect_damaged({.type = 4});
  expect_damaged({.type = 2});    // a directory with content
  expect_damaged({.type = 3});    // a link to nowhere
  expect_damaged({.link = "b"});  // a file that is a link too
  expect_damaged({.mode = 010000});
  expect_damaged({.uid = 1ull << 32});
  expect_damaged({.modified = 1ull << 63});
  expect_damaged({.size = 9});
  expect_damaged({.size = 11});
  expect_damaged({.place = 2});
  expect_damaged({.extents = 2});
  expect_damaged({.extents = 1ull << 60});
  expect_damaged({.size = 0, .length = 0});
  expect_damaged({.size = 5'000'000, .length = 5'000'000});
  expect_damaged({.offset = 4ull << 20});
  expect_damaged({.offset = 1, .chunk = {}});
  expect_damaged({.size = 1, .length = ~0ull, .chunk = {}});
}

TEST_F(HostileTable, ExtentsStandInTheirChunk) {
  StoreRun run(repository.context());
  const ChunkId chunk = run.writer->put_bytes(base::Bytes(100, 1));
  run.finish();
  expect_damaged({.offset = 91, .chunk = chunk});
}

TEST_F(HostileTable, PathsAreInOrderOverAllChunks) {
  StoreRun run(repository.context());
  const ChunkId b = run.writer->put_metadata(encode({.path = "b"}));
  const ChunkId a = run.writer->put_metadata(encode({.path = "a"}));
  run.finish();
  EXPECT_EQ(load(repository.context(), {a, b}).size(), 2u);
  EXPECT_EQ(error_of([&] {
              load(repository.context(), {b, a});
            }).kind(),
            base::ErrorKind::kDamaged);
  EXPECT_EQ(error_of([&] {
              load(repository.context(), {a, a});
            }).kind(),
            base::ErrorKind::kDamaged);
}

TEST_F(HostileTable, BearsAnyBytes) {
  base::Bytes good = encode({.path = "a"});
  const base::Bytes more = encode({.path = "b/c", .type = 2, .size = 0, .extents = 0});
  good.insert(good.end(), more.begin(), more.end());
  std::mt19937 generator(11);
  StoreRun run(repository.context());
  std::vector<ChunkId> pieces;
  for (int round = 0; round < 5'000; ++round) {
    base::Bytes bad = good;
    for (std::uint32_t i = 0; i <= generator() % 3; ++i) {
      bad[generator() % bad.size()] = static_cast<std::uint8_t>(generator());
    }
    if (round % 3 == 0) bad.resize(1 + generator() % (bad.size() - 1));
    pieces.push_back(run.writer->put_metadata(bad));
  }
  run.finish();
  const Context context = repository.context();
  const Index index = Index::load(context);
  ChunkReader reader(context, index);
  for (const ChunkId& piece : pieces) {
    try {
      load_file_table({piece}, reader, [&](FileEntry&& entry) { load_extents(entry, reader); });
    } catch (const base::Error& error) {
      ASSERT_EQ(error.kind(), base::ErrorKind::kDamaged) << error.what();
    }
  }
}

}  // namespace
}  // namespace holdfast::repository
