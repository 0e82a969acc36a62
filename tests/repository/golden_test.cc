// A repository that was written once and must be readable forever, and byte for byte what is
// written today: golden/v1. HOLDFAST_ACCEPT=1 writes it anew, which a released format never needs.
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "golden_sample.h"
#include "repository/chunk_reader.h"
#include "storage/damage.h"
#include "storage/directory.h"

namespace holdfast::repository {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFile = 16 * 1024 * 1024;
constexpr std::string_view kPassphrase = "the golden passphrase";

// Beside this file.
fs::path golden() { return fs::canonical(__FILE__).parent_path() / "golden" / "v1"; }

Credential passphrase() {
  Credential credential;
  credential.kind = Credential::Kind::kPassphrase;
  credential.passphrase = crypto::SecretText(std::string(kPassphrase));
  return credential;
}

struct Written {
  crypto::SecretText key_file;
  std::unique_ptr<Repository> repository;
  Sample sample;
  std::string compressed_wal = "wal/7300000000000000000/00000001/000000010000000000000002";
  ChunkId compressed_pages;
};

base::Bytes make_pages() {
  base::Bytes pages(2 * 8192);  // a page of zero bytes, and one that nothing is known of
  std::fill(pages.begin() + 8192, pages.end(), std::uint8_t{42});
  for (const std::size_t length : {16u, 24u}) {
    const base::Bytes page = index_page(8192, length, 1);
    pages.insert(pages.end(), page.begin(), page.end());
  }
  return pages;
}

ChunkId put_pages(const Context& context, const base::Bytes& pages) {
  const Index index = Index::load(context);
  ChunkStore store(context, index, {});
  const auto writer = store.new_writer();
  const ChunkId id = writer->put_pages(pages, 8192);
  writer->finish();
  store.finish();
  return id;
}

// The body of a record, of no real backup.
BackupRecord fixed_record() {
  BackupRecord record;
  BackupSummary& summary = record.summary;
  summary.component = "database";
  summary.started = StoppedClock().now();
  summary.finished = summary.started + std::chrono::seconds(90);
  summary.id = make_backup_id(summary.component, summary.started);
  summary.type = "postgresql";
  summary.kind = "incremental";
  summary.job = "daily";
  summary.previous = "database-20240116T120000Z";
  summary.bytes = 1;
  summary.bytes_read = 2;
  summary.bytes_stored = 3;
  summary.files = 4;
  summary.warnings = {"a warning"};
  summary.details_key = "postgresql";
  summary.details_json = R"({"version":"15.5"})";
  record.file_table.resize(2);
  record.file_table[0].bytes.fill(1);
  record.file_table[1].bytes.fill(2);
  record.indexes.resize(1);
  record.indexes[0].bytes.fill(3);
  return record;
}

class GoldenTest : public testing::Test {
 protected:
  // Everything without compression, whose bytes are those of one version of zstd; then a log and a
  // chunk of pages that are compressed.
  Written write() {
    Written written;
    written.key_file = make_key_file(random);
    auto storage = storage::open_memory();
    create(*storage, parse_key_file(written.key_file), "golden", clock, random);
    written.repository =
        Repository::open(std::move(storage), parse_key_file(written.key_file), clock, random, 0);
    Context context = written.repository->context();
    add_key_slot(context.storage, context.keyring, passphrase(), "words", clock.now(), random);
    written.sample = put_sample(context, "database", clock.now());
    context.compression_level = 3;
    put_log(context, written.compressed_wal, make_large_wal(), {}, 1);
    written.compressed_pages = put_pages(context, make_pages());
    return written;
  }

  static void accept(const Written& written) {
    fs::remove_all(golden());
    fs::create_directories(golden());
    base::write_file_durably(golden() / "key", base::as_bytes(written.key_file.view()), 0644);
    base::write_file_durably(golden() / "record", encode_record(fixed_record()), 0644);
    const auto directory = storage::create_directory(golden() / "repository");
    storage::copy_objects(written.repository->storage(), *directory);
    fs::remove_all(golden() / "repository" / "tmp");
  }

  std::unique_ptr<Repository> open_golden(const Credential& credential) {
    const auto directory = storage::open_directory(golden() / "repository");
    auto copy = storage::open_memory();
    storage::copy_objects(*directory, *copy);
    return Repository::open(std::move(copy), credential, clock, random, 3);
  }
  Credential golden_key() {
    return parse_key_file(crypto::SecretText(base::read_text_file(golden() / "key", kMaxFile)));
  }

  StoppedClock clock;
  RepeatableRandom random{1000};
};

base::Bytes content_of(const FileEntry& entry, ChunkReader& reader) {
  base::Bytes content;
  for (const Extent& extent : load_extents(entry, reader)) {
    if (extent.chunk.is_zero_range()) {
      content.resize(content.size() + extent.length_bytes);
      continue;
    }
    const base::Bytes chunk = reader.read(extent.chunk);
    const auto from = chunk.begin() + static_cast<std::ptrdiff_t>(extent.chunk_offset);
    content.insert(content.end(), from, from + static_cast<std::ptrdiff_t>(extent.length_bytes));
  }
  return content;
}

base::Bytes log_content(const Context& context, std::string_view name) {
  base::Bytes content;
  read_log(
      context, name,
      [&](base::ByteView piece) { content.insert(content.end(), piece.begin(), piece.end()); },
      LogCheck::kDigest);
  return content;
}

TEST_F(GoldenTest, IsWrittenAsItWas) {
  const Written written = write();
  if (std::getenv("HOLDFAST_ACCEPT") != nullptr) accept(written);
  ASSERT_TRUE(fs::exists(golden())) << "run once with HOLDFAST_ACCEPT=1";

  EXPECT_EQ(base::read_text_file(golden() / "key", kMaxFile), written.key_file.view());
  EXPECT_EQ(base::read_file(golden() / "record", kMaxFile), encode_record(fixed_record()));
  const auto directory = storage::open_directory(golden() / "repository");
  storage::Storage& now = written.repository->storage();
  EXPECT_EQ(storage::names_in(*directory), storage::names_in(now));
  for (const std::string& name : storage::names_in(now)) {
    // These depend on what the format leaves to the writer: where the file table is cut, and what
    // zstd makes of a pack's directory.
    if (name.starts_with("packs/") || name.starts_with("index/")) continue;
    if (name.starts_with("backups/")) continue;
    if (name == written.compressed_wal) continue;
    EXPECT_TRUE(storage::content_of(*directory, name) == storage::content_of(now, name)) << name;
  }
}

TEST_F(GoldenTest, IsReadable) {
  const Written written = write();
  const Sample& sample = written.sample;
  const auto repository = open_golden(golden_key());
  const Context& context = repository->context();
  const Catalog catalog = list_backups(context);
  EXPECT_TRUE(catalog.damaged.empty());
  ASSERT_EQ(catalog.backups.size(), 1u);
  EXPECT_EQ(catalog.backups[0].id, sample.backup);

  const Index index = Index::load(context);
  EXPECT_TRUE(index.problems().empty());
  ChunkReader reader(context, index);
  std::map<std::string, base::Bytes> files;
  load_file_table(get_record(context, sample.backup).file_table, reader, [&](FileEntry&& entry) {
    if (entry.type == FileType::kFile) files[entry.path] = content_of(entry, reader);
  });
  EXPECT_TRUE(files == sample.files);
  EXPECT_EQ(index.find(written.compressed_pages)->codec, Codec::kZstdPages);
  EXPECT_TRUE(reader.read(written.compressed_pages) == make_pages());
  EXPECT_TRUE(log_content(context, kSampleWal) == sample.wal);
  EXPECT_TRUE(log_content(context, written.compressed_wal) == make_large_wal());
  EXPECT_EQ(log_content(context, kSampleHistory), sample.history);
}

TEST_F(GoldenTest, RecordIsReadable) {
  const BackupRecord record = decode_record(base::read_file(golden() / "record", kMaxFile));
  EXPECT_EQ(encode_record(record), encode_record(fixed_record()));
}

TEST_F(GoldenTest, OpensForItsPassphraseToo) {
  EXPECT_TRUE(open_golden(passphrase())->keyring().can_read_data());
}

}  // namespace
}  // namespace holdfast::repository
