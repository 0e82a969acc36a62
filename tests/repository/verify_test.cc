#include "repository/verify.h"

#include <gmock/gmock.h>

#include <atomic>

#include "repository/compression.h"
#include "repository/format_object.h"
#include "repository/log_object.h"
#include "repository/pack_format.h"
#include "repository/sealed_object.h"
#include "sample_backup.h"
#include "storage/damage.h"
#include "storage/recording_storage.h"

namespace holdfast::repository {
namespace {

using storage::Operation;
using testing::HasSubstr;
using testing::IsEmpty;

// With what a real repository has beside the backups: a format object and a key slot.
class Verify : public testing::Test {
 protected:
  void SetUp() override {
    storage().put("format", encode_format(repository.keyring, "{}"));
    Credential credential;
    credential.key_file_secret.emplace();
    repository.random.fill(credential.key_file_secret->writable());
    add_key_slot(storage(), repository.keyring, credential, "test", repository.clock.now(),
                 repository.random);
  }

  storage::Storage& storage() { return *repository.storage; }
  Context context() { return repository.context(); }
  std::vector<std::string> names(std::string_view prefix) {
    return storage::names_in(storage(), prefix);
  }

  TestRepository repository;
};

// The names of what is damaged, each with the backup.
std::set<std::pair<std::string, std::string>> damage_of(const VerifyReport& report) {
  std::set<std::pair<std::string, std::string>> result;
  for (const Damage& damage : report.damaged) result.emplace(damage.object, damage.backup);
  return result;
}

TEST_F(Verify, FindsNothingInAGoodRepository) {
  const std::string a = take_sample_backup(context(), 1, sample_files(1));
  const std::string b = take_sample_backup(context(), 2, sample_files(50));
  for (const bool quick : {false, true}) {
    const VerifyReport report = verify_backups(context(), {a, b}, quick);
    EXPECT_THAT(damage_of(report), IsEmpty());
    EXPECT_EQ(report.checked, storage::names_in(storage()).size());
    EXPECT_EQ(report.started, repository.clock.now());
  }
}

TEST_F(Verify, NoBackupsAreFineToo) {
  EXPECT_THAT(damage_of(verify_backups(context(), {})), IsEmpty());
  EXPECT_EQ(verify_backups(context(), {}).checked, 2u);
}

TEST_F(Verify, ReadsEachPackInOrderAndOnce) {
  const std::string a = take_sample_backup(context(), 1, sample_files(1));
  const std::string b = take_sample_backup(context(), 2, sample_files(1));  // shares every chunk
  std::uint64_t pack_bytes = 0;
  storage().list("packs/", [&](const storage::ObjectInfo& info) { pack_bytes += info.size_bytes; });
  storage::Recording recording;
  storage::RecordingStorage recorded(storage(), recording);
  EXPECT_THAT(damage_of(verify_backups(repository.context_of(recorded), {a, b})), IsEmpty());
  // Chunks once, directories and headers beside them, and file tables before them.
  EXPECT_LT(recording.bytes(Operation::kRead, "packs/"), 3 * pack_bytes);

  recording.clear();
  EXPECT_THAT(damage_of(verify_backups(repository.context_of(recorded), {a, b}, true)), IsEmpty());
  EXPECT_LT(recording.bytes(Operation::kRead, "packs/"), pack_bytes / 10);
}

TEST_F(Verify, AMissingBackupIsDamage) {
  const std::string a = take_sample_backup(context(), 1, sample_files(1));
  storage::delete_object(storage(), record_name(a));
  EXPECT_EQ(damage_of(verify_backups(context(), {a})),
            (std::set<std::pair<std::string, std::string>>{{record_name(a), a}}));
}

TEST_F(Verify, LogsAreNeededToo) {
  const std::string a = take_sample_backup(context(), 1, sample_files(1));
  const std::string b = take_sample_backup(context(), 2, sample_files(2));
  const std::string good = "wal/1/00000001/000000010000000000000001";
  const std::string bad = "wal/1/00000001/000000010000000000000002";
  const std::string missing = "wal/1/00000001/000000010000000000000003";
  put_log(context(), good, random_bytes(100'000, 1), {}, 1);
  put_log(context(), bad, random_bytes(100'000, 2), {}, 1);
  storage::flip_bit(storage(), bad, 50'000 * 8);
  const auto needed = [&](const BackupSummary& summary) {
    return summary.id == a ? std::vector{good, bad} : std::vector{good, bad, missing};
  };
  EXPECT_EQ(damage_of(verify_backups(context(), {a, b}, false, needed)),
            (std::set<std::pair<std::string, std::string>>{{bad, a}, {bad, b}, {missing, b}}));
  EXPECT_EQ(damage_of(verify_backups(context(), {a, b}, true, needed)),
            (std::set<std::pair<std::string, std::string>>{{missing, b}}));
}

TEST_F(Verify, QuickFindsPacksThatAreMissingOrCut) {
  const std::string a = take_sample_backup(context(), 1, sample_files(1));
  const std::vector<std::string> packs = names("packs/");
  const Index index = Index::load(context());
  std::vector<std::string> data;
  for (std::uint32_t i = 0; i < index.pack_count(); ++i) {
    if (index.pack(i).pack_class == PackClass::kData) data.push_back(pack_name(index.pack(i).id));
  }
  ASSERT_GE(data.size(), 2u);
  storage::delete_object(storage(), data[0]);
  storage::truncate_object(storage(), data[1], 1000);
  for (const bool quick : {false, true}) {
    EXPECT_EQ(damage_of(verify_backups(context(), {a}, quick)),
              (std::set<std::pair<std::string, std::string>>{{data[0], a}, {data[1], a}}));
  }
}

TEST_F(Verify, AWriteOnlyCredentialVerifiesQuicklyOnly) {
  const std::string a = take_sample_backup(context(), 1, sample_files(1));
  EXPECT_THAT(damage_of(verify_backups(repository.write_only_context(), {a}, true)), IsEmpty());
  EXPECT_EQ(error_of([&] { verify_backups(repository.write_only_context(), {a}); }).kind(),
            base::ErrorKind::kRefused);
}

// An index object whose packs another one names as well is not missed.
TEST_F(Verify, AnIndexObjectThatWasReplacedIsNotMissed) {
  const std::string a = take_sample_backup(context(), 1, sample_files(1));
  const std::string index = names("index/").front();
  storage::delete_object(storage(), index);
  const VerifyReport before = verify_backups(context(), {a});
  ASSERT_EQ(damage_of(before), (std::set<std::pair<std::string, std::string>>{{index, a}}));
  EXPECT_THAT(before.damaged[0].problem, HasSubstr("can be restored"));

  const std::string b = take_sample_backup(context(), 2, sample_files(1));
  EXPECT_THAT(damage_of(verify_backups(context(), {a, b})), IsEmpty());
}

TEST_F(Verify, ALostIndexAndALostPackAreBothNamed) {
  const std::string a = take_sample_backup(context(), 1, sample_files(1));
  const std::string index = names("index/").front();
  const std::string pack = names("packs/").front();
  storage::delete_object(storage(), index);
  storage::truncate_object(storage(), pack, 500);
  EXPECT_EQ(damage_of(verify_backups(context(), {a})),
            (std::set<std::pair<std::string, std::string>>{{index, a}, {pack, a}}));
}

// All of it authenticates, so only a program that was wrong could have written it.
TEST_F(Verify, ContentThatIsNotWhatItsIdSays) {
  StoreRun run(context());
  const ChunkId id = run.writer->put_pages(sample_pages(2, 1), kSamplePageSize);
  FileEntry entry;
  entry.path = "a";
  entry.size_bytes = 2 * kSamplePageSize;
  entry.extents = {{entry.size_bytes, id, 0}};
  BackupRecord record;
  record.summary.id = make_backup_id("test", repository.clock.now());
  record.summary.component = "test";
  record.summary.started = repository.clock.now();
  record.file_table = store_file_table({entry}, *run.writer);
  record.indexes = run.finish();
  put_record(context(), record);
  ASSERT_THAT(damage_of(verify_backups(context(), {record.summary.id})), IsEmpty());

  // The same pack, with another content sealed as that chunk.
  const Index index = Index::load(context());
  const ChunkLocation location = *index.find(id);
  const PackEntry pack = index.pack(location.pack);
  base::Bytes bytes = storage::content_of(storage(), pack_name(pack.id));
  PackHeader header;
  std::copy_n(bytes.begin(), header.size(), header.begin());
  crypto::Aead aead(open_pack_header(context(), pack.id, pack.pack_class, header));
  ChunkAssociatedData associated(repository.keyring.repository, pack.id);
  base::Bytes plain(location.stored_length - crypto::kTagSize);
  const base::MutableByteView sealed =
      base::MutableByteView(bytes).subspan(location.offset, location.stored_length);
  ASSERT_TRUE(aead.open(crypto::counter_nonce(location.number),
                        associated.of(id, location.codec, location.length), sealed, plain));
  const base::Bytes other = sample_pages(2, 1);
  base::Bytes changed(other);
  changed[100] ^= 1;
  Compressor compressor(3);
  base::Bytes packed(plain.size() + 100);
  const auto size = compressor.compress_pages(changed, kSamplePageSize, packed);
  ASSERT_EQ(size, plain.size());
  aead.seal(crypto::counter_nonce(location.number),
            associated.of(id, location.codec, location.length), base::ByteView(packed).first(*size),
            sealed);
  storage::replace_object(storage(), pack_name(pack.id), bytes);

  const VerifyReport report = verify_backups(context(), {record.summary.id});
  ASSERT_EQ(
      damage_of(report),
      (std::set<std::pair<std::string, std::string>>{{pack_name(pack.id), record.summary.id}}));
  EXPECT_THAT(report.damaged[0].problem, HasSubstr("not what its id says"));
}

TEST_F(Verify, StopsWhenAsked) {
  const std::string a = take_sample_backup(context(), 1, sample_files(1));
  std::stop_source stop;
  stop.request_stop();
  base::NoProgress progress;
  EXPECT_EQ(
      error_of([&] { verify(context(), {.backups = {a}}, {}, progress, stop.get_token()); }).kind(),
      base::ErrorKind::kInterrupted);
}

// Sums up what is reported.
class CountingProgress final : public base::Progress {
 public:
  void phase(std::string_view, std::uint64_t total) override {
    total_bytes = total;
    done_bytes = 0;
  }
  void advance(std::uint64_t bytes) override { done_bytes += bytes; }
  void note(std::string_view) override {}
  void warning(std::string_view) override {}

  std::uint64_t total_bytes = 0;
  std::atomic<std::uint64_t> done_bytes{0};
};

TEST_F(Verify, TellsHowFarItIs) {
  const std::string a = take_sample_backup(context(), 1, sample_files(1));
  CountingProgress progress;
  verify(context(), {.backups = {a}}, {}, progress, {});
  EXPECT_GT(progress.total_bytes, 0u);
  EXPECT_EQ(progress.done_bytes, progress.total_bytes);
}

TEST_F(Verify, ReportsAreKept) {
  const std::string a = take_sample_backup(context(), 1, sample_files(1));
  const std::string b = take_sample_backup(context(), 2, sample_files(2));
  EXPECT_THAT(verified_times(context()), IsEmpty());

  const VerifyOptions options{.backups = {a, b}};
  VerifyReport report;
  report.started = report.finished = *base::parse_time("2024-02-01T00:00:00Z", {});
  put_verify_report(context(), options, report);
  const auto first = report.finished;
  report.finished = *base::parse_time("2024-02-02T00:00:00.5Z", {});
  report.damaged = {{"packs/00/ff", b, "is \xff odd"}, {"format", "", "is missing"}};
  put_verify_report(context(), options, report);
  report.finished = *base::parse_time("2024-02-03T00:00:00Z", {});
  report.damaged.clear();
  put_verify_report(context(), {.backups = {a, b}, .quick = true}, report);
  put_metadata(context(), "reports/" + std::string(32, '0'), MetadataKind::kReport,
               bytes_of("not JSON"));

  const auto times = verified_times(context());
  EXPECT_EQ(times.size(), 2u);
  EXPECT_EQ(times.at(a), *base::parse_time("2024-02-02T00:00:00.5Z", {}));
  EXPECT_EQ(times.at(b), first);
}

// An index object that another one stands in for is not to blame for what a third one lost.
TEST(VerifyIndexObjects, BlamesNoneThatWasReplaced) {
  TestRepository repository;
  const Context context = repository.context();
  SampleFiles files = sample_files(1);
  for (const auto& [path, content] : sample_files(50)) files["other/" + path] = content;
  const std::string backup = take_sample_backup(context, 1, files, 4096);
  const std::vector<IndexId> indexes = get_record(context, backup).indexes;
  ASSERT_GE(indexes.size(), 2u);
  const std::string replaced = index_name(indexes[0]);
  const auto body = get_metadata(context, replaced, MetadataKind::kIndex);
  put_metadata(context, index_name(IndexId::make(context.random)), MetadataKind::kIndex,
               encode_index(decode_index(*body), std::span(indexes).first(1)));
  repository.storage->remove(replaced);
  const auto blamed = [&] {
    std::set<std::string> objects;
    for (const Damage& damage : verify_backups(context, {backup}).damaged) {
      if (damage.object.starts_with("index/")) objects.insert(damage.object);
    }
    return objects;
  };
  EXPECT_EQ(blamed(), std::set<std::string>{});
  repository.storage->remove(index_name(indexes[1]));
  EXPECT_EQ(blamed(), std::set<std::string>{index_name(indexes[1])});
}

}  // namespace
}  // namespace holdfast::repository
