// Cutting by content, and the content of files.
#include <random>
#include <set>

#include "fixture.h"
#include "repository/content_writer.h"
#include "repository/file_content.h"
#include "sample_backup.h"

namespace holdfast::repository {
namespace {

constexpr std::size_t kMiB = 1024 * 1024;

std::vector<std::size_t> cuts(const ContentCutter& cutter, base::ByteView content) {
  std::vector<std::size_t> lengths;
  while (!content.empty()) {
    lengths.push_back(cutter.first_chunk(content));
    content = content.subspan(lengths.back());
  }
  return lengths;
}

std::set<base::Bytes> chunks(const ContentCutter& cutter, base::ByteView content) {
  std::set<base::Bytes> result;
  while (!content.empty()) {
    const base::ByteView chunk = content.first(cutter.first_chunk(content));
    result.insert(base::Bytes(chunk.begin(), chunk.end()));
    content = content.subspan(chunk.size());
  }
  return result;
}

TEST(ContentCutter, KeepsToItsBounds) {
  TestRepository repository;
  const ContentCutter cutter(repository.keyring.identity);
  const base::Bytes content = random_bytes(64 * kMiB, 1);
  const std::vector<std::size_t> lengths = cuts(cutter, content);
  for (std::size_t i = 0; i + 1 < lengths.size(); ++i) {
    EXPECT_GE(lengths[i], ContentCutter::kLeast);
    EXPECT_LE(lengths[i], ContentCutter::kMost);
  }
  const std::size_t mean = content.size() / lengths.size();
  EXPECT_GT(mean, ContentCutter::kUsual * 3 / 4);
  EXPECT_LT(mean, ContentCutter::kUsual * 3 / 2);
  EXPECT_EQ(cutter.first_chunk({}), 0u);
  EXPECT_EQ(cutter.first_chunk(base::ByteView(content).first(1)), 1u);
}

TEST(ContentCutter, FindsTheSameChunksBehindAnInsertion) {
  TestRepository repository;
  const ContentCutter cutter(repository.keyring.identity);
  const base::Bytes content = random_bytes(32 * kMiB, 2);
  base::Bytes longer = content;
  longer.insert(longer.begin() + 5 * kMiB + 77, 1000, std::uint8_t{'x'});
  const std::set<base::Bytes> before = chunks(cutter, content);
  std::size_t fresh = 0;
  for (const base::Bytes& chunk : chunks(cutter, longer)) fresh += before.contains(chunk) ? 0 : 1;
  EXPECT_GE(fresh, 1u);
  EXPECT_LE(fresh, 4u);
}

TEST(ContentCutter, CutsByTheKeyOfTheRepository) {
  TestRepository one(1);
  TestRepository two(2);
  const base::Bytes content = random_bytes(16 * kMiB, 3);
  EXPECT_NE(cuts(ContentCutter(one.keyring.identity), content),
            cuts(ContentCutter(two.keyring.identity), content));
}

// However the stream is handed over, it is cut alike, and comes back.
TEST(ContentWriter, GivesBackWhatWasWritten) {
  TestRepository repository;
  const ContentCutter cutter(repository.keyring.identity);
  base::Bytes content = random_bytes(11 * kMiB + 5, 4);
  content.insert(content.begin() + 3 * kMiB, 9 * kMiB, std::uint8_t{0});
  std::vector<std::vector<Extent>> written;
  std::mt19937 generator(5);
  StoreRun run(repository.context());
  for (const std::size_t most : {content.size(), std::size_t{100'000}}) {
    ContentWriter writer(cutter, *run.writer);
    for (std::size_t at = 0; at < content.size();) {
      const std::size_t length = std::min(content.size() - at, 1 + generator() % most);
      writer.write(base::ByteView(content).subspan(at, length));
      at += length;
    }
    written.push_back(writer.finish());
    EXPECT_EQ(writer.size_bytes(), content.size());
  }
  run.finish();
  ASSERT_EQ(written[0].size(), written[1].size());
  for (std::size_t i = 0; i < written[0].size(); ++i) {
    EXPECT_EQ(written[0][i].chunk, written[1][i].chunk);
  }
  FileEntry entry;
  entry.path = "a";
  entry.size_bytes = content.size();
  entry.extents = written[0];
  const Context context = repository.context();
  const Index index = Index::load(context);
  ChunkReader reader(context, index);
  base::Bytes back;
  read_content(entry, reader,
               [&](base::ByteView piece) { back.insert(back.end(), piece.begin(), piece.end()); });
  EXPECT_EQ(back, content);
}

TEST(ContentWriter, StoresNothingOfZeros) {
  TestRepository repository;
  const ContentCutter cutter(repository.keyring.identity);
  StoreRun run(repository.context());
  ContentWriter writer(cutter, *run.writer);
  writer.write(base::Bytes(10 * kMiB));
  const std::vector<Extent> extents = writer.finish();
  run.finish();
  ASSERT_EQ(extents.size(), 1u);
  EXPECT_TRUE(extents[0].chunk.is_zero_range());
  EXPECT_EQ(extents[0].length_bytes, 10 * kMiB);
  EXPECT_EQ(run.store.statistics().chunks, 0u);
}

}  // namespace
}  // namespace holdfast::repository
