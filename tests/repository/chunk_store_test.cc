// Chunks put, and read back: chunk_writer.h, chunk_reader.h and what lies below them.
#include <gmock/gmock.h>

#include "fixture.h"
#include "repository/chunk_hash.h"
#include "repository/chunk_reader.h"
#include "repository/chunk_writer.h"
#include "repository/compression.h"
#include "repository/pack_format.h"
#include "sample_backup.h"
#include "storage/damage.h"
#include "storage/fault_storage.h"
#include "storage/recording_storage.h"

namespace holdfast::repository {
namespace {

using storage::Operation;

constexpr std::uint32_t kPage = 8192;

TEST(ChunkStore, GivesBackWhatWasPut) {
  TestRepository repository;
  const std::vector<base::Bytes> contents = {
      {1},
      {1, 2},
      base::Bytes(31, 5),
      random_bytes(100, 1),
      random_bytes(1'000'000, 2),
      base::Bytes(1'000'000, 9),
      random_bytes(kMaxChunkSize, 3),
      base::Bytes(kMaxChunkSize, 0),  // put_bytes knows no zero range
  };
  const std::vector<base::Bytes> pages = {sample_pages(1, 4), sample_pages(64, 5),
                                          sample_pages(512, 6)};
  StoreRun run(repository.context(), {.pack_size_bytes = 1024 * 1024});
  std::vector<std::pair<ChunkId, base::Bytes>> put;
  for (const base::Bytes& content : contents) {
    put.emplace_back(run.writer->put_bytes(content), content);
    put.emplace_back(run.writer->put_metadata(content), content);
  }
  for (const base::Bytes& content : pages) {
    put.emplace_back(run.writer->put_pages(content, kPage), content);
  }
  const std::vector<IndexId> indexes = run.finish();
  EXPECT_EQ(indexes.size(), storage::names_in(*repository.storage, "index/").size());

  const Context context = repository.context();
  const Index index = Index::load(context);
  EXPECT_TRUE(index.problems().empty());
  EXPECT_TRUE(index.adopted().empty());
  ChunkReader reader(context, index);
  base::Bytes buffer(kMaxChunkSize);
  for (int round = 0; round < 2; ++round) {  // the second with every key at hand
    for (const auto& [id, content] : put) {
      EXPECT_EQ(reader.length(id), content.size());
      EXPECT_EQ(reader.read(id), content);
      ASSERT_EQ(reader.read_and_check_id(id, buffer), content.size());
      EXPECT_TRUE(std::equal(content.begin(), content.end(), buffer.begin()));
    }
  }
}

TEST(ChunkStore, IdsAndPageHashesAreAsTheFormatSays) {
  TestRepository repository;
  const base::Bytes pages = sample_pages(3, 1);
  StoreRun run(repository.context());
  const ChunkId page_chunk = run.writer->put_pages(pages, kPage);
  const ChunkId byte_chunk = run.writer->put_bytes(pages);
  run.finish();

  const auto identity = repository.keyring.identity.bytes();
  EXPECT_EQ(byte_chunk.bytes, crypto::hmac(identity, {base::Bytes{0}, pages}));
  base::Bytes prefix(64);
  crypto::hkdf({}, identity, "holdfast page hash v1", prefix);
  base::ByteWriter named;
  named.u8(1);
  named.u32(kPage);
  std::vector<std::uint64_t> short_hashes;
  for (std::size_t page = 0; page < 3; ++page) {
    base::Bytes message = prefix;
    message.insert(message.end(), pages.begin() + static_cast<std::ptrdiff_t>(page * kPage),
                   pages.begin() + static_cast<std::ptrdiff_t>((page + 1) * kPage));
    const crypto::Digest hash = crypto::sha256(message);
    named.raw(hash);
    short_hashes.push_back(base::ByteReader(hash, "hash").u64());
  }
  EXPECT_EQ(page_chunk.bytes, crypto::hmac(identity, {named.view()}));

  const Context context = repository.write_only_context();
  const Index index = Index::load(context);
  ChunkReader reader(context, index);
  EXPECT_EQ(reader.page_hashes(page_chunk), short_hashes);
  EXPECT_TRUE(reader.page_hashes(byte_chunk).empty());
}

// A pack taken apart by hand, from the words of docs/format.md alone.
TEST(ChunkStore, PackIsAsTheFormatSays) {
  TestRepository repository;
  repository.compression_level = 0;
  const base::Bytes content = random_bytes(1000, 1);
  StoreRun run(repository.context());
  const ChunkId id = run.writer->put_metadata(content);
  run.finish();
  const std::string name = storage::names_in(*repository.storage, "packs/").front();
  const base::Bytes pack = storage::content_of(*repository.storage, name);
  const base::ByteView view = pack;

  EXPECT_EQ(base::as_text(view.first(8)), std::string_view("HFPACK\0\1", 8));
  EXPECT_EQ(view[8], 2);
  PackId pack_id;
  ASSERT_TRUE(base::from_hex(name.substr(name.size() - 32), pack_id.bytes));
  EXPECT_EQ(name, "packs/" + pack_id.hex().substr(0, 2) + "/" + pack_id.hex());
  const auto key = crypto::hkdf_key<crypto::AeadKey>(
      view.subspan(9, 32), repository.keyring.metadata.bytes(), "holdfast metadata pack v1");
  base::ByteWriter associated;
  associated.raw(repository.keyring.repository.bytes);
  associated.raw(pack_id.bytes);
  associated.raw(id.bytes);
  associated.u8(0);
  associated.u32(1000);
  base::Bytes plain(1000);
  ASSERT_TRUE(crypto::Aead(key).open({}, associated.view(), view.subspan(121, 1016), plain));
  EXPECT_EQ(plain, content);

  base::ByteReader footer(view.last(52), "footer");
  const std::uint64_t body_size = footer.u64();
  EXPECT_EQ(body_size, 1u + 32 + 1 + 1 + 2 + 2);
  const std::size_t sealed_size = footer.u32();
  EXPECT_EQ(pack.size(), 121 + 1016 + sealed_size + 52);
  const auto directory_key = crypto::hkdf_key<crypto::AeadKey>(
      footer.raw(32), repository.keyring.metadata.bytes(), "holdfast pack directory v1");
  EXPECT_EQ(base::as_text(footer.raw(8)), std::string_view("HFPACKE\1", 8));
  base::ByteWriter directory_associated;
  directory_associated.raw(repository.keyring.repository.bytes);
  directory_associated.raw(pack_id.bytes);
  directory_associated.raw(view.first(121));
  base::Bytes packed(sealed_size - 16);
  ASSERT_TRUE(
      crypto::Aead(directory_key)
          .open({}, directory_associated.view(), view.subspan(121 + 1016, sealed_size), packed));
  base::Bytes body(body_size);
  ASSERT_TRUE(Decompressor().decompress(packed, body));
  base::ByteReader entries(body, "directory");
  EXPECT_EQ(entries.varint(), 1u);
  EXPECT_EQ(base::to_hex(entries.raw(32)), base::to_hex(id.bytes));
  EXPECT_EQ(entries.u8(), 0);
  EXPECT_EQ(entries.u8(), 0);
  EXPECT_EQ(entries.varint(), 1016u);
  EXPECT_EQ(entries.varint(), 1000u);
  entries.expect_end();
}

TEST(ChunkStore, ZeroPagesStoreNothing) {
  TestRepository repository;
  StoreRun run(repository.context());
  EXPECT_TRUE(run.writer->put_pages(base::Bytes(64 * kPage, 0), kPage).is_zero_range());
  base::Bytes almost(64 * kPage, 0);
  almost.back() = 1;
  EXPECT_FALSE(run.writer->put_pages(almost, kPage).is_zero_range());
  almost.back() = 0;
  almost[20] = 1;
  EXPECT_FALSE(run.writer->put_pages(almost, kPage).is_zero_range());
  run.finish();
  EXPECT_EQ(run.store.statistics().chunks, 3u);
  EXPECT_EQ(run.store.statistics().chunks_new, 2u);
}

TEST(ChunkStore, NothingToStoreLeavesNoObject) {
  TestRepository repository;
  StoreRun run(repository.context());
  EXPECT_TRUE(run.finish().empty());
  EXPECT_TRUE(storage::names_in(*repository.storage).empty());
}

TEST(ChunkStore, CountsWhatItDoes) {
  TestRepository repository;
  StoreRun run(repository.context());
  run.writer->put_pages(sample_pages(4, 1), kPage);
  run.writer->put_pages(sample_pages(4, 1), kPage);
  run.writer->put_bytes(random_bytes(1000, 2));
  run.finish();
  const StoreStatistics statistics = run.store.statistics();
  EXPECT_EQ(statistics.chunks, 3u);
  EXPECT_EQ(statistics.chunks_new, 2u);
  EXPECT_EQ(statistics.bytes, 8 * kPage + 1000);
  EXPECT_EQ(statistics.bytes_new, 4 * kPage + 1000);
  std::uint64_t stored = 0;
  repository.storage->list("", [&](const storage::ObjectInfo& info) { stored += info.size_bytes; });
  EXPECT_EQ(statistics.bytes_stored, stored);
}

TEST(ChunkStore, StoresEachChunkOnce) {
  TestRepository repository;
  const base::Bytes pages = sample_pages(8, 1);
  ChunkId first;
  {
    StoreRun run(repository.context());
    first = run.writer->put_pages(pages, kPage);
    EXPECT_EQ(run.writer->put_pages(pages, kPage), first);
    run.finish();
    EXPECT_EQ(run.store.statistics().chunks_new, 1u);
  }
  const auto names = storage::names_in(*repository.storage);
  StoreRun run(repository.context());
  EXPECT_EQ(run.writer->put_pages(pages, kPage), first);
  EXPECT_TRUE(run.finish().empty());
  EXPECT_EQ(storage::names_in(*repository.storage), names);
}

TEST(ChunkStore, MetadataIsStoredAsSuchThoughDataHoldsIt) {
  TestRepository repository;
  const base::Bytes content = random_bytes(1000, 1);
  StoreRun run(repository.context());
  const ChunkId id = run.writer->put_bytes(content);
  EXPECT_EQ(run.writer->put_metadata(content), id);
  run.finish();
  EXPECT_EQ(read_chunk(repository.write_only_context(), id), content);
}

TEST(ChunkStore, WriteOnlyHostWritesWhatItCannotRead) {
  TestRepository repository;
  const base::Bytes pages = sample_pages(8, 1);
  StoreRun run(repository.write_only_context());
  const ChunkId data = run.writer->put_pages(pages, kPage);
  const ChunkId metadata = run.writer->put_metadata(random_bytes(100, 2));
  run.finish();
  EXPECT_EQ(read_chunk(repository.write_only_context(), metadata), random_bytes(100, 2));
  EXPECT_EQ(error_of([&] { read_chunk(repository.write_only_context(), data); }).kind(),
            base::ErrorKind::kRefused);
  EXPECT_EQ(read_chunk(repository.context(), data), pages);
}

TEST(ChunkStore, ReadsPacksOfAnOlderDataKey) {
  TestRepository repository;
  StoreRun run(repository.context());
  const ChunkId id = run.writer->put_bytes(random_bytes(100, 1));
  run.finish();
  repository.keyring.add_data_key(repository.random);
  EXPECT_EQ(read_chunk(repository.context(), id), random_bytes(100, 1));
}

TEST(ChunkStore, ManyWritersStoreEachChunkOnce) {
  TestRepository repository;
  const Context context = repository.context();
  const Index index = Index::load(context);
  ChunkStore store(context, index, {.upload_threads = 2, .pack_size_bytes = 256 * 1024});
  constexpr std::uint32_t kChunks = 200;
  std::vector<ChunkId> ids(kChunks);
  {
    base::WorkerGroup workers;
    for (int i = 0; i < 4; ++i) {
      workers.start([&, i](const std::stop_token&) {
        const auto writer = store.new_writer();
        for (std::uint32_t n = 0; n < kChunks; ++n) {
          const ChunkId id = writer->put_pages(sample_pages(2, n), kPage);
          if (i == 0) ids[n] = id;
          writer->put_metadata(random_bytes(50, n));
        }
        writer->finish();
      });
    }
    workers.join();
  }
  store.finish();
  EXPECT_EQ(store.statistics().chunks, 8 * kChunks);
  EXPECT_EQ(store.statistics().chunks_new, 2 * kChunks);
  for (std::uint32_t n = 0; n < kChunks; n += 17) {
    EXPECT_EQ(read_chunk(context, ids[n]), sample_pages(2, n));
  }
}

TEST(ChunkStore, SmallRunsOfManyWritersLeaveOnePackOfEachClass) {
  TestRepository repository;
  const Context context = repository.context();
  const Index index = Index::load(context);
  ChunkStore store(context, index, {});
  std::vector<std::pair<ChunkId, std::uint32_t>> put;
  for (std::uint32_t i = 0; i < 4; ++i) {
    const auto writer = store.new_writer();
    for (std::uint32_t n = 0; n < 5; ++n) {
      put.emplace_back(writer->put_pages(sample_pages(2, 10 * i + n), kPage), 10 * i + n);
      writer->put_metadata(random_bytes(50, 10 * i + n));
    }
    writer->finish();
  }
  EXPECT_EQ(store.finish().size(), 1u);
  EXPECT_EQ(storage::names_in(*repository.storage, "packs/").size(), 2u);
  for (const auto& [id, seed] : put) EXPECT_EQ(read_chunk(context, id), sample_pages(2, seed));
}

TEST(ChunkStore, PutsAnIndexObjectAfterEvery16Packs) {
  TestRepository repository;
  storage::Recording recording;
  storage::RecordingStorage recorded(*repository.storage, recording);
  StoreRun run(repository.context_of(recorded), {.pack_size_bytes = 64 * 1024});
  for (std::uint32_t n = 0; n < 40; ++n) run.writer->put_bytes(random_bytes(70'000, n));
  EXPECT_EQ(run.finish().size(), 3u);
  std::size_t packs = 0;
  std::vector<std::size_t> packs_before_index;
  for (const storage::Io& io : recording.all()) {
    if (io.operation != Operation::kPut) continue;
    if (io.name.starts_with("index/")) packs_before_index.push_back(packs);
    if (io.name.starts_with("packs/")) ++packs;
  }
  EXPECT_EQ(packs_before_index, (std::vector<std::size_t>{16, 32, 40}));
}

TEST(ChunkStore, ARunThatWasKilledIsNotInVain) {
  TestRepository repository;
  std::vector<ChunkId> ids;
  {
    StoreRun run(repository.context(), {.pack_size_bytes = 64 * 1024});
    for (std::uint32_t n = 0; n < 10; ++n)
      ids.push_back(run.writer->put_bytes(random_bytes(70'000, n)));
    run.writer->finish();
    // The queue is bounded, so some packs are certainly in storage. No finish().
  }
  const std::size_t left = storage::names_in(*repository.storage, "packs/").size();
  ASSERT_GE(left, 8u);
  EXPECT_TRUE(storage::names_in(*repository.storage, "index/").empty());

  StoreRun run(repository.context(), {.pack_size_bytes = 64 * 1024});
  EXPECT_EQ(run.index.adopted().size(), left);
  for (std::uint32_t n = 0; n < 10; ++n)
    EXPECT_EQ(run.writer->put_bytes(random_bytes(70'000, n)), ids[n]);
  run.finish();
  EXPECT_EQ(run.store.statistics().chunks_new, 10 - left);

  // From here on an index object names them.
  const Index index = Index::load(repository.context());
  EXPECT_TRUE(index.adopted().empty());
  EXPECT_EQ(index.pack_count(), 10u);
  for (std::uint32_t n = 0; n < 10; ++n)
    EXPECT_EQ(read_chunk(repository.context(), ids[n]), random_bytes(70'000, n));
}

TEST(ChunkStore, StoresAgainWhatALostPackHeld) {
  TestRepository repository;
  const base::Bytes content = random_bytes(1000, 1);
  StoreRun first(repository.context());
  const ChunkId id = first.writer->put_bytes(content);
  first.finish();
  storage::delete_object(*repository.storage,
                         storage::names_in(*repository.storage, "packs/").front());
  EXPECT_EQ(error_of([&] { read_chunk(repository.context(), id); }).kind(),
            base::ErrorKind::kDamaged);

  StoreRun second(repository.context());
  second.writer->put_bytes(content);
  second.finish();
  EXPECT_EQ(second.store.statistics().chunks_new, 1u);
  EXPECT_EQ(read_chunk(repository.context(), id), content);
}

TEST(ChunkStore, AFailedUploadEndsTheRun) {
  TestRepository repository;
  storage::Faults faults;
  storage::FaultStorage faulty(*repository.storage, faults);
  faults.arm({.at = 3, .kind = base::ErrorKind::kNoSpace, .operations = {Operation::kPut}});
  StoreRun run(repository.context_of(faulty), {.pack_size_bytes = 64 * 1024});
  const auto put_many = [&] {
    for (std::uint32_t n = 0; n < 100; ++n) run.writer->put_bytes(random_bytes(70'000, n));
  };
  EXPECT_EQ(error_of(put_many).kind(), base::ErrorKind::kNoSpace);
  EXPECT_EQ(error_of([&] { run.writer->put_bytes(random_bytes(10, 1)); }).kind(),
            base::ErrorKind::kNoSpace);
  EXPECT_EQ(error_of([&] { run.writer->finish(); }).kind(), base::ErrorKind::kNoSpace);
  EXPECT_EQ(error_of([&] { run.store.finish(); }).kind(), base::ErrorKind::kNoSpace);
  EXPECT_TRUE(storage::names_in(*repository.storage, "index/").empty());
}

TEST(ChunkStore, AWriterThatWasDroppedFailsTheRun) {
  TestRepository repository;
  StoreRun run(repository.context());
  run.store.new_writer()->put_bytes(random_bytes(10, 1));
  EXPECT_EQ(error_of([&] { run.finish(); }).kind(), base::ErrorKind::kFailed);
}

TEST(ChunkStore, ATakenNameIsAnError) {
  TestRepository repository;
  StoreRun run(repository.context());
  run.writer->put_bytes(random_bytes(10, 1));
  run.writer->finish();
  // The pack's id is drawn when its first chunk is put: with the same randomness, the same name.
  TestRepository twin;
  StoreRun other(twin.context());
  other.writer->put_bytes(random_bytes(10, 1));
  other.finish();
  const std::string name = storage::names_in(*twin.storage, "packs/").front();
  repository.storage->put(name, bytes_of("another's"));
  EXPECT_EQ(error_of([&] { run.store.finish(); }).kind(), base::ErrorKind::kFailed);
  EXPECT_EQ(storage::content_of(*repository.storage, name), bytes_of("another's"));
}

}  // namespace
}  // namespace holdfast::repository
