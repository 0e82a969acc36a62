// Chunks are given back exactly or not at all, and damage is named.
#include "repository/chunk_reader.h"

#include <gmock/gmock.h>

#include "fixture.h"
#include "repository/chunk_hash.h"
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

TEST(ChunkReader, NamesPackAndChunk) {
  TestRepository repository;
  StoreRun run(repository.context());
  const ChunkId id = run.writer->put_bytes(random_bytes(1000, 1));
  run.finish();
  const std::string name = storage::names_in(*repository.storage, "packs/").front();
  storage::flip_bit(*repository.storage, name, (kPackHeaderSize + 500) * 8);
  const base::Error error = error_of([&] { read_chunk(repository.context(), id); });
  EXPECT_EQ(error.kind(), base::ErrorKind::kDamaged);
  EXPECT_THAT(error.what(), testing::HasSubstr(name));
  EXPECT_THAT(error.what(), testing::HasSubstr(base::to_hex(id.bytes)));

  storage::delete_object(*repository.storage, name);
  const base::Error missing = error_of([&] { read_chunk(repository.context(), id); });
  EXPECT_EQ(missing.kind(), base::ErrorKind::kDamaged);
  EXPECT_THAT(missing.what(), testing::HasSubstr(name));
  EXPECT_THAT(missing.what(), testing::HasSubstr(base::to_hex(id.bytes)));

  ChunkId unknown;
  unknown.bytes.fill(1);
  EXPECT_EQ(error_of([&] { read_chunk(repository.context(), unknown); }).kind(),
            base::ErrorKind::kDamaged);
}

TEST(ChunkReader, RefusesEveryFlippedBitOfAPack) {
  TestRepository repository;
  StoreRun run(repository.context());
  const ChunkId id = run.writer->put_pages(sample_pages(1, 1), kPage);
  run.finish();
  const std::string name = storage::names_in(*repository.storage, "packs/").front();
  const Context context = repository.context();
  const Index index = Index::load(context);
  const std::size_t size = storage::content_of(*repository.storage, name).size();
  base::Bytes buffer(kPage);
  for_each_bit(size, 7, [&](std::size_t bit) {
    storage::flip_bit(*repository.storage, name, bit);
    EXPECT_EQ(error_of([&] { ChunkReader(context, index).read_and_check_id(id, buffer); }).kind(),
              base::ErrorKind::kDamaged)
        << "bit " << bit;
    storage::flip_bit(*repository.storage, name, bit);
  });
}

TEST(ChunkReader, FetchesNeighboursTogether) {
  TestRepository repository;
  StoreRun run(repository.context());
  std::vector<ChunkId> ids;
  for (std::uint32_t n = 0; n < 40; ++n)
    ids.push_back(run.writer->put_bytes(random_bytes(100'000, n)));
  run.finish();
  storage::Recording recording;
  storage::RecordingStorage recorded(*repository.storage, recording);
  const Context context = repository.context_of(recorded);
  const Index index = Index::load(context);
  recording.clear();
  ChunkReader reader(context, index);
  for (std::uint32_t n = 0; n < 40; ++n) EXPECT_EQ(reader.read(ids[n]), random_bytes(100'000, n));
  EXPECT_LE(recording.count(Operation::kRead), 4u);          // 4 MB
  EXPECT_LE(recording.bytes(Operation::kRead), 4'500'000u);  // and hardly a byte twice
}

TEST(ChunkReader, AnAskForZeroBytesIsAMistake) {
  TestRepository repository;
  EXPECT_EQ(error_of([&] { read_chunk(repository.context(), ChunkId{}); }).kind(),
            base::ErrorKind::kFailed);
}

TEST(PackDirectory, BearsHostileBytes) {
  base::ByteWriter body;
  body.varint(2);
  std::vector<Index::PackContents::Chunk> chunks(2);
  for (auto& chunk : chunks) chunk = {ChunkId{{1}}, 516, 1024, ChunkKind::kPages, Codec::kZstd};
  for (const auto& chunk : chunks) {
    write_chunk_entry(body, chunk);
    body.varint(512);
    body.u64(1);
    body.u64(2);
  }
  const std::uint64_t end = kPackHeaderSize + 2 * 516;
  PackDirectory directory;
  decode_directory(body.view(), end, directory);
  EXPECT_EQ(directory.pages[1].hashes, (std::vector<std::uint64_t>{1, 2}));
  std::mt19937 generator(3);
  for (int round = 0; round < 20'000; ++round) {
    base::Bytes bad(body.view().begin(), body.view().end());
    for (std::uint32_t i = 0; i <= generator() % 4; ++i) {
      bad[generator() % bad.size()] = static_cast<std::uint8_t>(generator());
    }
    if (round % 3 == 0) bad.resize(generator() % bad.size());
    PackDirectory hostile;
    try {
      decode_directory(bad, end, hostile);
    } catch (const base::Error& error) {
      ASSERT_EQ(error.kind(), base::ErrorKind::kDamaged) << error.what();
    }
  }
}

}  // namespace
}  // namespace holdfast::repository
