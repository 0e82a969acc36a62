#include "repository/index.h"

#include <random>

#include "fixture.h"
#include "repository/pack_format.h"
#include "repository/sealed_object.h"
#include "sample_backup.h"
#include "storage/damage.h"

namespace holdfast::repository {
namespace {

using Chunk = Index::PackContents::Chunk;

ChunkId chunk_id(std::uint8_t number) {
  ChunkId id;
  id.bytes.fill(number);
  return id;
}

Index::PackContents contents_of(std::uint8_t pack, std::initializer_list<std::uint8_t> chunks) {
  Index::PackContents contents;
  contents.pack.id.bytes.fill(pack);
  contents.pack.size_bytes = 10'000;
  for (const std::uint8_t chunk : chunks) {
    contents.chunks.push_back({chunk_id(chunk), 100, 300, ChunkKind::kPages, Codec::kZstd});
  }
  return contents;
}

void put_index_of(const Context& context, std::vector<Index::PackContents> packs) {
  put_metadata(context, index_name(IndexId::make(context.random)), MetadataKind::kIndex,
               encode_index(packs));
}

// Packs are told from each other by names and sizes alone here.
void put_pack_of_size(storage::Storage& storage, const Index::PackContents& contents) {
  storage.put(pack_name(contents.pack.id), base::Bytes(contents.pack.size_bytes));
}

TEST(IndexBody, RoundTrip) {
  Index::PackContents first = contents_of(1, {10, 11});
  first.chunks.push_back({chunk_id(12), 516, 500, ChunkKind::kBytes, Codec::kNone});
  Index::PackContents second = contents_of(2, {});
  second.pack.pack_class = PackClass::kMetadata;
  const auto decoded = decode_index(encode_index(std::vector{first, second}));

  ASSERT_EQ(decoded.size(), 2u);
  EXPECT_EQ(decoded[0].pack.id, first.pack.id);
  EXPECT_EQ(decoded[0].pack.pack_class, PackClass::kData);
  EXPECT_EQ(decoded[0].pack.size_bytes, 10'000u);
  ASSERT_EQ(decoded[0].chunks.size(), 3u);
  EXPECT_EQ(decoded[0].chunks[2].id, chunk_id(12));
  EXPECT_EQ(decoded[0].chunks[2].stored_length, 516u);
  EXPECT_EQ(decoded[0].chunks[2].length, 500u);
  EXPECT_EQ(decoded[0].chunks[2].kind, ChunkKind::kBytes);
  EXPECT_EQ(decoded[0].chunks[2].codec, Codec::kNone);
  EXPECT_EQ(decoded[1].pack.pack_class, PackClass::kMetadata);
  EXPECT_TRUE(decoded[1].chunks.empty());
}

TEST(IndexBody, RefusesWhatIsOutOfBounds) {
  const auto expect_damaged = [](const std::function<void(Index::PackContents&)>& change) {
    Index::PackContents contents = contents_of(1, {10});
    change(contents);
    EXPECT_EQ(error_of([&] { decode_index(encode_index(std::vector{contents})); }).kind(),
              base::ErrorKind::kDamaged);
  };
  expect_damaged([](auto& c) { c.pack.pack_class = PackClass{3}; });
  expect_damaged([](auto& c) { c.pack.size_bytes = kMaxPackSize + 1; });
  expect_damaged([](auto& c) { c.pack.size_bytes = 200; });  // less than its chunks
  expect_damaged([](auto& c) { c.chunks[0].id = {}; });
  expect_damaged([](auto& c) { c.chunks[0].kind = ChunkKind{2}; });
  expect_damaged([](auto& c) { c.chunks[0].codec = Codec{3}; });
  expect_damaged([](auto& c) { c.chunks[0].length = 0; });
  expect_damaged([](auto& c) { c.chunks[0].length = kMaxChunkSize + 1; });
  expect_damaged([](auto& c) { c.chunks[0].stored_length = crypto::kTagSize; });
  expect_damaged([](auto& c) { c.chunks[0].stored_length = 300 + crypto::kTagSize + 1; });
  expect_damaged([](auto& c) { c.chunks[0].codec = Codec::kNone; });  // yet shorter
  expect_damaged([](auto& c) {
    c.chunks[0].kind = ChunkKind::kBytes;
    c.chunks[0].codec = Codec::kZstdPages;
  });
  expect_damaged([](auto& c) { c.chunks.resize(kMaxPackChunks + 1, c.chunks[0]); });

  base::Bytes longer = encode_index(std::vector{contents_of(1, {10})});
  longer.push_back(0);
  EXPECT_EQ(error_of([&] { decode_index(longer); }).kind(), base::ErrorKind::kDamaged);
}

TEST(IndexBody, NamesWhatItReplaces) {
  std::vector<IndexId> ids(2);
  ids[0].bytes.fill(7);
  ids[1].bytes.fill(8);
  const base::Bytes body = encode_index(std::vector{contents_of(1, {10})}, ids);
  std::vector<IndexId> read;
  EXPECT_EQ(decode_index(body, &read).size(), 1u);
  EXPECT_EQ(read, ids);
  for (const std::size_t cut : {1u, 16u, 32u}) {
    const base::ByteView shorter = base::ByteView(body).first(body.size() - cut);
    EXPECT_EQ(error_of([&] { decode_index(shorter); }).kind(), base::ErrorKind::kDamaged);
  }
}

// Whatever the bytes are: an answer or kDamaged, and no more memory than they can fill.
TEST(IndexBody, BearsHostileBytes) {
  const base::Bytes good = encode_index(
      std::vector{contents_of(1, {10, 11, 12}), contents_of(2, {13})}, std::vector<IndexId>(2));
  std::mt19937 generator(5);
  for (int round = 0; round < 20'000; ++round) {
    base::Bytes bad = good;
    for (std::uint32_t i = 0; i <= generator() % 4; ++i) {
      bad[generator() % bad.size()] = static_cast<std::uint8_t>(generator());
    }
    if (round % 3 == 0) bad.resize(generator() % bad.size());
    try {
      decode_index(bad);
    } catch (const base::Error& error) {
      ASSERT_EQ(error.kind(), base::ErrorKind::kDamaged) << error.what();
    }
  }
}

TEST(Index, FindsWhereEachChunkStands) {
  TestRepository repository;
  const Index::PackContents one = contents_of(1, {30, 10});
  const Index::PackContents two = contents_of(2, {20});
  put_index_of(repository.context(), {one});
  put_index_of(repository.context(), {two});
  put_pack_of_size(*repository.storage, one);
  put_pack_of_size(*repository.storage, two);

  const Index index = Index::load(repository.context());
  EXPECT_TRUE(index.problems().empty());
  EXPECT_TRUE(index.adopted().empty());
  EXPECT_EQ(index.pack_count(), 2u);
  EXPECT_EQ(index.slots().size(), 3u);
  const auto place = index.find(chunk_id(10));
  ASSERT_TRUE(place);
  EXPECT_EQ(index.pack(place->pack).id, one.pack.id);
  EXPECT_EQ(place->number, 1u);
  EXPECT_EQ(place->offset, kPackHeaderSize + 100);
  EXPECT_EQ(place->stored_length, 100u);
  EXPECT_EQ(place->length, 300u);
  EXPECT_EQ(place->kind, ChunkKind::kPages);
  EXPECT_EQ(place->codec, Codec::kZstd);
  EXPECT_FALSE(index.find(chunk_id(11)));
  EXPECT_TRUE(index.holds(chunk_id(20), PackClass::kData));
}

TEST(Index, PrefersPacksThatArePresent) {
  TestRepository repository;
  const Index::PackContents lost = contents_of(1, {10, 11});
  const Index::PackContents there = contents_of(2, {10});
  const Index::PackContents cut = contents_of(3, {12});
  put_index_of(repository.context(), {lost, there, cut});
  put_pack_of_size(*repository.storage, there);
  repository.storage->put(pack_name(cut.pack.id), base::Bytes(9'999));

  const Index index = Index::load(repository.context());
  EXPECT_EQ(index.pack(index.find(chunk_id(10))->pack).id, there.pack.id);
  EXPECT_TRUE(index.holds(chunk_id(10), PackClass::kData));
  // Known, so that a reader can name the pack; not held, so that a writer stores it again.
  EXPECT_EQ(index.pack(index.find(chunk_id(11))->pack).id, lost.pack.id);
  EXPECT_FALSE(index.holds(chunk_id(11), PackClass::kData));
  EXPECT_FALSE(index.holds(chunk_id(12), PackClass::kData));
  ASSERT_EQ(index.problems().size(), 2u);
  EXPECT_EQ(index.problems()[0].object, pack_name(lost.pack.id));
  EXPECT_EQ(index.problems()[1].object, pack_name(cut.pack.id));
}

TEST(Index, MetadataInADataPackIsNotHeld) {
  TestRepository repository;
  const Index::PackContents data = contents_of(1, {10, 11});
  Index::PackContents metadata = contents_of(2, {11});
  metadata.pack.pack_class = PackClass::kMetadata;
  put_index_of(repository.context(), {data, metadata});
  put_pack_of_size(*repository.storage, data);
  put_pack_of_size(*repository.storage, metadata);

  const Index index = Index::load(repository.context());
  EXPECT_FALSE(index.holds(chunk_id(10), PackClass::kMetadata));
  EXPECT_TRUE(index.holds(chunk_id(11), PackClass::kMetadata));
  EXPECT_TRUE(index.holds(chunk_id(11), PackClass::kData));
  EXPECT_EQ(index.pack(index.find(chunk_id(11))->pack).id, metadata.pack.id);
}

TEST(Index, NamesObjectsThatCannotBeUsed) {
  TestRepository repository;
  take_sample_backup(repository.context(), 1, sample_files(1));
  const std::string damaged = storage::names_in(*repository.storage, "index/").front();
  storage::flip_bit(*repository.storage, damaged, 800);
  repository.storage->put("index/readme", bytes_of("hello"));
  repository.storage->put("packs/00/readme", bytes_of("hello"));

  const Index index = Index::load(repository.context());
  std::set<std::string> objects;
  for (const Index::Problem& problem : index.problems()) objects.insert(problem.object);
  EXPECT_EQ(objects, (std::set<std::string>{damaged, "index/readme", "packs/00/readme"}));
}

TEST(Index, AdoptsPacksThatNoIndexNames) {
  TestRepository repository;
  take_sample_backup(repository.context(), 1, sample_files(1));
  const Index before = Index::load(repository.context());
  for (const std::string& name : storage::names_in(*repository.storage, "index/")) {
    storage::delete_object(*repository.storage, name);
  }
  const Index after = Index::load(repository.context());
  EXPECT_EQ(after.adopted().size(), before.pack_count());
  EXPECT_TRUE(after.is_adopted(0));
  EXPECT_FALSE(before.is_adopted(0));
  ASSERT_EQ(after.slots().size(), before.slots().size());
  for (const Index::Slot& slot : before.slots()) {
    const auto place = after.find(slot.id);
    ASSERT_TRUE(place);
    EXPECT_EQ(after.pack(place->pack).id, before.pack(slot.location.pack).id);
    EXPECT_EQ(after.pack(place->pack).pack_class, before.pack(slot.location.pack).pack_class);
    EXPECT_EQ(after.pack(place->pack).size_bytes, before.pack(slot.location.pack).size_bytes);
    EXPECT_EQ(place->number, slot.location.number);
    EXPECT_EQ(place->offset, slot.location.offset);
    EXPECT_EQ(place->stored_length, slot.location.stored_length);
    EXPECT_EQ(place->length, slot.location.length);
    EXPECT_EQ(place->kind, slot.location.kind);
    EXPECT_EQ(place->codec, slot.location.codec);
  }
}

TEST(Index, IsBuiltByAWriteOnlyCredential) {
  TestRepository repository;
  take_sample_backup(repository.context(), 1, sample_files(1));
  storage::delete_object(*repository.storage,
                         storage::names_in(*repository.storage, "index/").front());
  const Index index = Index::load(repository.write_only_context());
  EXPECT_TRUE(index.problems().empty());
  EXPECT_FALSE(index.adopted().empty());
}

// What a prune is about to remove can be read and is not built upon; where it is gone already, that
// is no problem.
TEST(Index, KnowsWhatIsCondemned) {
  TestRepository repository;
  const Index::PackContents condemned = contents_of(1, {10, 11});
  const Index::PackContents other = contents_of(2, {11, 12});
  const Index::PackContents gone = contents_of(3, {13});
  put_index_of(repository.context(), {condemned, other, gone});
  put_pack_of_size(*repository.storage, condemned);
  put_pack_of_size(*repository.storage, other);
  put_tombstone(repository.context(), std::vector{condemned.pack.id, gone.pack.id});

  const Index index = Index::load(repository.context());
  EXPECT_TRUE(index.problems().empty());
  EXPECT_EQ(index.tombstones().size(), 1u);
  ASSERT_TRUE(index.find(chunk_id(10)));
  EXPECT_TRUE(index.pack(index.find(chunk_id(10))->pack).present);
  EXPECT_FALSE(index.holds(chunk_id(10), PackClass::kData));
  EXPECT_EQ(index.pack(index.find(chunk_id(11))->pack).id, other.pack.id);
  EXPECT_TRUE(index.holds(chunk_id(11), PackClass::kData));
  EXPECT_FALSE(index.holds(chunk_id(13), PackClass::kData));
}

// A run does not name a condemned pack again that no index object names.
TEST(Index, DoesNotAdoptWhatIsCondemned) {
  TestRepository repository;
  const std::string backup = take_sample_backup(repository.context(), 1, sample_files(1));
  for (const std::string& name : storage::names_in(*repository.storage, "index/")) {
    repository.storage->remove(name);
  }
  const std::size_t adopted = Index::load(repository.context()).adopted().size();
  ASSERT_GT(adopted, 1u);
  put_tombstone(repository.context(),
                std::vector{Index::load(repository.context()).adopted().front().pack.id});
  const Index index = Index::load(repository.context());
  EXPECT_EQ(index.adopted().size(), adopted - 1);
  EXPECT_EQ(read_sample_backup(repository.context(), backup), sample_files(1));
}

// Index objects vanish while they are read, and one that holds the same appears.
TEST(Index, IsReadAgainWhereObjectsWereReplacedMeanwhile) {
  class Replacing final : public storage::Storage {
   public:
    Replacing(storage::Storage& storage, std::function<void()> replace)
        : inner(storage), replace_once(std::move(replace)) {}
    storage::PutResult put(std::string_view name, base::ByteView content,
                           storage::Use use) override {
      return inner.put(name, content, use);
    }
    std::optional<base::Bytes> get(std::string_view name, std::uint64_t max) override {
      if (name.starts_with("index/") && replace_once) std::exchange(replace_once, nullptr)();
      return inner.get(name, max);
    }
    std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                    base::MutableByteView buffer) override {
      return inner.read(name, offset, buffer);
    }
    std::optional<storage::ObjectInfo> stat(std::string_view name) override {
      return inner.stat(name);
    }
    void list(std::string_view prefix,
              const std::function<void(const storage::ObjectInfo&)>& each) override {
      inner.list(prefix, each);
    }
    bool remove(std::string_view name) override { return inner.remove(name); }
    std::string describe() const override { return inner.describe(); }

   private:
    storage::Storage& inner;
    std::function<void()> replace_once;
  };
  TestRepository repository;
  const Index::PackContents one = contents_of(1, {10});
  const Index::PackContents two = contents_of(2, {20});
  put_index_of(repository.context(), {one});
  put_index_of(repository.context(), {two});
  put_pack_of_size(*repository.storage, one);
  put_pack_of_size(*repository.storage, two);
  Replacing replacing(*repository.storage, [&] {
    const auto old = storage::names_in(*repository.storage, "index/");
    put_index_of(repository.context(), {one, two});
    for (const std::string& name : old) repository.storage->remove(name);
  });
  const Index index = Index::load(repository.context_of(replacing));
  EXPECT_TRUE(index.problems().empty());
  EXPECT_TRUE(index.adopted().empty());
  EXPECT_TRUE(index.holds(chunk_id(10), PackClass::kData));
  EXPECT_TRUE(index.holds(chunk_id(20), PackClass::kData));
}

}  // namespace
}  // namespace holdfast::repository
