// A file whose pages stand in many chunks, as a long row of incremental backups leaves it.
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "base/file.h"
#include "postgres/crc32c.h"
#include "postgres/restore_files.h"
#include "repository/sample_backup.h"
#include "storage/recording_storage.h"
#include "storage/temporary_directory.h"

namespace holdfast::postgres {
namespace {

using repository::ChunkId;
using repository::Extent;
using repository::kSamplePageSize;

constexpr std::size_t kPages = 6144;  // 48 MiB
constexpr std::size_t kChunkPages = 128;
constexpr std::size_t kLater = 16;         // backups after the first one
constexpr std::size_t kChangedPages = 64;  // by each

// Each later backup changed pages here and there and put them into one chunk, in their order.
class ScatteredFile {
 public:
  explicit ScatteredFile(const repository::Context& context)
      : content_(repository::random_bytes(kPages * kSamplePageSize, 1)), places_(kPages) {
    repository::StoreRun run(context);
    for (std::size_t page = 0; page < kPages; page += kChunkPages) {
      const ChunkId id = run.writer->put_pages(pages(content_, page, kChunkPages), kSamplePageSize);
      for (std::size_t n = 0; n < kChunkPages; ++n) places_[page + n] = {id, n};
    }
    std::mt19937 generator(1);
    for (std::uint32_t later = 0; later < kLater; ++later) change(run, later, generator);
    make_entry(*run.writer);
    run.finish();
  }

  const repository::FileEntry& entry() const { return entry_; }
  const base::Bytes& content() const { return content_; }

 private:
  static base::ByteView pages(const base::Bytes& bytes, std::size_t first, std::size_t count) {
    return base::ByteView(bytes).subspan(first * kSamplePageSize, count * kSamplePageSize);
  }

  void change(repository::StoreRun& run, std::uint32_t later, std::mt19937& generator) {
    const base::Bytes fresh =
        repository::random_bytes(kChangedPages * kSamplePageSize, 1000 + later);
    const ChunkId id = run.writer->put_pages(fresh, kSamplePageSize);
    for (std::size_t n = 0; n < kChangedPages; ++n) {
      const std::size_t stride = kPages / kChangedPages;
      const std::size_t page = n * stride + generator() % stride;
      const base::ByteView from = pages(fresh, n, 1);
      std::copy(from.begin(), from.end(), content_.data() + page * kSamplePageSize);
      places_[page] = {id, n};
    }
  }

  void make_entry(repository::ChunkStore::Writer& writer) {
    entry_.path = "16384";
    entry_.mode = 0600;
    entry_.size_bytes = content_.size();
    for (const auto& [id, page] : places_) {
      const auto offset = static_cast<std::uint32_t>(page * kSamplePageSize);
      std::vector<Extent>& extents = entry_.extents;
      if (!extents.empty() && extents.back().chunk == id &&
          extents.back().chunk_offset + extents.back().length_bytes == offset) {
        extents.back().length_bytes += kSamplePageSize;
      } else {
        extents.push_back({kSamplePageSize, id, offset});
      }
    }
    repository::store_extents(entry_, writer);
  }

  base::Bytes content_;
  std::vector<std::pair<ChunkId, std::size_t>> places_;  // of each page: chunk, page in it
  repository::FileEntry entry_;
};

class ScatteredRestoreTest : public testing::Test {
 protected:
  RestoredFiles restore(bool over) {
    storage::RecordingStorage recorded(*repository_.storage, recording_);
    const repository::Context context = repository_.context_of(recorded);
    const repository::Index index = repository::Index::load(context);
    recording_.clear();
    const std::vector<repository::FileEntry> files = {file_.entry()};
    base::NoProgress progress;
    return restore_files(
        context, index,
        {.files = files,
         .target_of = [&](const auto& entry) { return directory_.path() / entry.path; },
         .over = over},
        progress, {});
  }

  std::uint64_t bytes_read() { return recording_.bytes(storage::Operation::kRead, "packs/"); }

  base::Bytes restored() { return base::read_file(directory_.path() / "16384", 1 << 30); }

  repository::TestRepository repository_;
  ScatteredFile file_{repository_.context()};
  storage::Recording recording_;
  storage::TemporaryDirectory directory_;
};

TEST_F(ScatteredRestoreTest, UnpacksEachChunkAboutOnce) {
  const RestoredFiles result = restore(false);
  EXPECT_TRUE(restored() == file_.content());
  EXPECT_EQ(result.manifest.front().crc, crc32c(0, file_.content()));
  EXPECT_EQ(result.bytes_written, file_.content().size());
  // What is read ahead in vain is part of it. Without keeping chunks it is more than twice as much.
  const std::uint64_t chunks = file_.content().size() + kLater * kChangedPages * kSamplePageSize;
  EXPECT_LE(bytes_read(), chunks + chunks / 2);
}

TEST_F(ScatteredRestoreTest, ComparesByPageHashesAlone) {
  restore(false);
  const RestoredFiles result = restore(true);
  EXPECT_EQ(result.bytes_written, 0U);
  EXPECT_EQ(result.manifest.front().crc, crc32c(0, file_.content()));
  EXPECT_LE(bytes_read(), file_.content().size() / 20);
}

TEST_F(ScatteredRestoreTest, WritesThePagesThatDiffer) {
  restore(false);
  const auto path = directory_.path() / "16384";
  {
    const base::UniqueFd fd = base::open_file(path, O_WRONLY);
    for (std::uint64_t page = 0; page < kPages; page += 500) {
      base::write_at(fd.get(), page * kSamplePageSize + 17, base::as_bytes("damage"), path);
    }
  }
  EXPECT_EQ(restore(true).bytes_written, (kPages / 500 + 1) * kSamplePageSize);
  EXPECT_TRUE(restored() == file_.content());
}

}  // namespace
}  // namespace holdfast::postgres
