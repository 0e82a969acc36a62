#include "repository/log_object.h"

#include <gmock/gmock.h>

#include "fixture.h"
#include "repository/log_format.h"
#include "storage/contents.h"
#include "storage/damage.h"
#include "storage/recording_storage.h"

namespace holdfast::repository {
namespace {

using base::ErrorKind;
using storage::Operation;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kName = "wal/7300000000000000000/00000001/000000010000000000000001";
constexpr std::size_t kMiB = 1024 * 1024;

// Half of it compresses, as WAL does.
base::Bytes make_wal(std::size_t size, std::uint64_t seed = 1) {
  base::Bytes wal = storage::make_content(size, seed);
  for (std::size_t i = 0; i < size; ++i) {
    if (i / 1000 % 2 == 0) wal[i] = static_cast<std::uint8_t>(i / 1000);
  }
  return wal;
}

class LogObjectTest : public testing::Test {
 protected:
  LogPut put(base::ByteView data, int threads = 2, std::string_view name = kName) {
    return put_log(repository.context(), name, data, {{"pg.segment", bytes_of("section")}},
                   threads);
  }
  base::Bytes read(std::string_view name = kName, LogCheck check = LogCheck::kDigest) {
    return read_with(repository.context(), name, check);
  }
  base::Bytes read_with(const Context& context, std::string_view name, LogCheck check) {
    base::Bytes content;
    const auto info = read_log(
        context, name,
        [&](base::ByteView piece) { content.insert(content.end(), piece.begin(), piece.end()); },
        check);
    EXPECT_TRUE(info);
    return content;
  }
  void expect_damaged(std::string_view name, std::string_view how) {
    const base::Error error = error_of([&] { read(name, LogCheck::kAuthentic); });
    EXPECT_EQ(error.kind(), ErrorKind::kDamaged) << how;
    EXPECT_THAT(error.what(), HasSubstr(std::string(name))) << how;
  }

  TestRepository repository;
  storage::Storage& storage = *repository.storage;
};

TEST_F(LogObjectTest, GivesBackWhatWasPut) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kFrameSize - 1, kFrameSize,
                                 kFrameSize + 1, 5 * kMiB, 16 * kMiB}) {
    for (const bool random : {false, true}) {
      const base::Bytes data = random ? storage::make_content(size, 3) : make_wal(size);
      std::optional<std::array<std::uint8_t, 32>> digest;
      for (const int threads : {1, 3, 100}) {
        if (size > 5 * kMiB && threads != 3) continue;  // long under the sanitizers
        EXPECT_EQ(put(data, threads), LogPut::kCreated);
        const LogInfo info = stat_log(repository.context(), kName).value();
        EXPECT_EQ(info.length_bytes, size);
        EXPECT_EQ(info.archived, repository.clock.now());
        EXPECT_EQ(*info.section("pg.segment"), bytes_of("section"));
        EXPECT_EQ(info.section("pg.other"), nullptr);
        if (!digest) digest = info.digest;
        EXPECT_EQ(info.digest, *digest);  // not of the way it was made
        EXPECT_TRUE(read() == data) << size << " bytes, " << threads << " threads";
        storage::delete_object(storage, kName);
      }
    }
  }
}

TEST_F(LogObjectTest, IsCompressedAndNeverMuchLarger) {
  put(base::Bytes(16 * kMiB, 0));
  EXPECT_LT(storage.stat(kName)->size_bytes, 16u * 1024);
  storage::delete_object(storage, kName);
  put(storage::make_content(16 * kMiB, 1));
  EXPECT_LT(storage.stat(kName)->size_bytes, 16 * kMiB + 1024);
  storage::delete_object(storage, kName);
  repository.compression_level = 0;
  put(base::Bytes(16 * kMiB, 0));
  EXPECT_GT(storage.stat(kName)->size_bytes, 16 * kMiB);
  EXPECT_EQ(read(), base::Bytes(16 * kMiB, 0));
}

TEST_F(LogObjectTest, TheSameAgainIsSameAndAnotherIsDifferent) {
  const base::Bytes data = make_wal(3 * kMiB);
  EXPECT_EQ(put(data), LogPut::kCreated);
  const base::Bytes object = storage::content_of(storage, kName);
  EXPECT_EQ(put(data), LogPut::kSame);
  base::Bytes other = data;
  other.back() ^= 1;
  EXPECT_EQ(put(other), LogPut::kDifferent);
  other = data;
  other.push_back(0);
  EXPECT_EQ(put(other), LogPut::kDifferent);
  EXPECT_EQ(storage::content_of(storage, kName), object);
}

TEST_F(LogObjectTest, PutAgainReadsTheFrontAndWritesNothing) {
  const base::Bytes data = make_wal(16 * kMiB);
  storage::Recording recording;
  storage::RecordingStorage recorded(storage, recording);
  const Context context = repository.context_of(recorded);
  EXPECT_EQ(put_log(context, kName, data, {}, 2), LogPut::kCreated);
  EXPECT_EQ(recording.count(Operation::kPut), 1u);
  EXPECT_EQ(recording.count(Operation::kRead), 1u);
  EXPECT_EQ(recording.all().size(), 2u);

  recording.clear();
  EXPECT_EQ(put_log(context, kName, data, {}, 2), LogPut::kSame);
  EXPECT_EQ(recording.all().size(), 1u);
  EXPECT_LE(recording.bytes(Operation::kRead), 16u * 1024);
}

TEST_F(LogObjectTest, ADamagedOneIsNotTakenForTheSame) {
  const base::Bytes data = make_wal(kMiB);
  put(data);
  storage::flip_bit(storage, kName, 8 * 160);
  EXPECT_EQ(error_of([&] { put(data); }).kind(), ErrorKind::kDamaged);
}

// Between the look and the put another run archives the same segment, or another by its name.
TEST_F(LogObjectTest, ARivalsObjectIsCompared) {
  class Late final : public storage::Storage {
   public:
    explicit Late(storage::Storage& inner) : inner_(inner) {}
    storage::PutResult put(std::string_view name, base::ByteView content,
                           storage::Use use) override {
      return inner_.put(name, content, use);
    }
    std::optional<base::Bytes> get(std::string_view name, std::uint64_t max) override {
      return inner_.get(name, max);
    }
    std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                    base::MutableByteView buffer) override {
      if (std::exchange(first_, false)) return std::nullopt;  // it was not there yet
      return inner_.read(name, offset, buffer);
    }
    std::optional<storage::ObjectInfo> stat(std::string_view name) override {
      return inner_.stat(name);
    }
    void list(std::string_view prefix,
              const std::function<void(const storage::ObjectInfo&)>& each) override {
      inner_.list(prefix, each);
    }
    bool remove(std::string_view name) override { return inner_.remove(name); }
    std::string describe() const override { return inner_.describe(); }

   private:
    storage::Storage& inner_;
    bool first_ = true;
  };

  const base::Bytes data = make_wal(kMiB);
  put(data);
  Late same(storage);
  EXPECT_EQ(put_log(repository.context_of(same), kName, data, {}, 1), LogPut::kSame);
  Late different(storage);
  EXPECT_EQ(put_log(repository.context_of(different), kName, make_wal(kMiB, 2), {}, 1),
            LogPut::kDifferent);
  Late inline_log(storage);
  EXPECT_EQ(put_inline_log(repository.context_of(inline_log), kName, data, {}), LogPut::kSame);
}

TEST_F(LogObjectTest, AWriteOnlyHostArchivesAndCannotRead) {
  const base::Bytes data = make_wal(3 * kMiB);
  const Context context = repository.write_only_context();
  EXPECT_EQ(put_log(context, kName, data, {{"a", bytes_of("b")}}, 2), LogPut::kCreated);
  EXPECT_EQ(put_log(context, kName, data, {}, 2), LogPut::kSame);
  EXPECT_EQ(stat_log(context, kName)->length_bytes, data.size());
  const base::Error error = error_of([&] { read_with(context, kName, LogCheck::kAuthentic); });
  EXPECT_EQ(error.kind(), ErrorKind::kRefused);
  EXPECT_THAT(error.what(), HasSubstr("write-only"));
  EXPECT_FALSE(error.hint().empty());
  EXPECT_TRUE(read() == data);  // and who holds the keys can
}

TEST_F(LogObjectTest, IsReadAfterTheKeyWasRotated) {
  const Keyring before = repository.keyring;
  put(make_wal(100));
  repository.keyring.add_data_key(repository.random);
  EXPECT_EQ(read(), make_wal(100));
  put(make_wal(200), 1, "wal/1/00000001/second");
  repository.keyring = before;  // an export from before the rotation
  EXPECT_EQ(error_of([&] { read("wal/1/00000001/second"); }).kind(), ErrorKind::kKey);
}

TEST_F(LogObjectTest, InlineContentIsReadByAWriteOnlyHost) {
  const std::string_view name = "wal/7300000000000000000/00000002/00000002.history";
  const base::Bytes history = bytes_of("1\t0/3000000\tno recovery target specified\n");
  const Context context = repository.write_only_context();
  EXPECT_EQ(put_inline_log(context, name, history, {}), LogPut::kCreated);
  EXPECT_EQ(put_inline_log(context, name, history, {}), LogPut::kSame);
  EXPECT_EQ(put_inline_log(context, name, bytes_of("other"), {}), LogPut::kDifferent);
  EXPECT_EQ(stat_log(context, name)->inline_content, history);
  EXPECT_EQ(read_with(context, name, LogCheck::kDigest), history);
  EXPECT_EQ(put_inline_log(context, "wal/empty", {}, {}), LogPut::kCreated);
  EXPECT_EQ(read_with(context, "wal/empty", LogCheck::kDigest), base::Bytes());
  EXPECT_EQ(error_of([&] { put_inline_log(context, "wal/x", base::Bytes(kMiB + 1), {}); }).kind(),
            ErrorKind::kFailed);
}

TEST_F(LogObjectTest, SectionsMayBeLarge) {
  const base::Bytes map = storage::make_content(3 * kMiB, 9);
  const base::Bytes data = make_wal(3 * kMiB);
  EXPECT_EQ(put_log(repository.context(), kName, data, {{"map", map}, {"", {}}}, 2),
            LogPut::kCreated);
  EXPECT_EQ(*stat_log(repository.context(), kName)->section("map"), map);
  EXPECT_TRUE(read() == data);
  storage::truncate_object(storage, kName, kMiB);
  expect_damaged(kName, "cut within the metadata");
}

TEST_F(LogObjectTest, WhatIsNotThereIsNoError) {
  EXPECT_FALSE(stat_log(repository.context(), kName));
  EXPECT_FALSE(read_log(repository.context(), kName, [](base::ByteView) { FAIL(); }));
}

TEST_F(LogObjectTest, EveryDamageIsFound) {
  base::Bytes data(2 * kFrameSize + 5000);  // compresses to a small object of three frames
  for (std::size_t i = 0; i < 3; ++i) {
    storage::fill_content(base::MutableByteView(data).subspan(i * kFrameSize, 500), i);
  }
  put(data);
  const base::Bytes good = storage::content_of(storage, kName);
  for_each_bit(good.size(), 5, [&](std::size_t bit) {
    storage::flip_bit(storage, kName, bit);
    expect_damaged(kName, "bit " + std::to_string(bit));
    storage::replace_object(storage, kName, good);
  });
  for (std::size_t size = 0; size < good.size(); size += 11) {
    storage::truncate_object(storage, kName, size);
    expect_damaged(kName, "size " + std::to_string(size));
    storage::replace_object(storage, kName, good);
  }
  storage::append_to_object(storage, kName, base::as_bytes("x"));
  expect_damaged(kName, "appended");
}

// Where each frame stands in the object, and where it ends.
std::vector<std::size_t> frame_offsets(base::ByteView object) {
  base::ByteReader reader(object, "object");
  reader.raw(kLogHeadSize - 4);
  reader.raw(reader.u32());
  std::vector<std::size_t> offsets;
  while (reader.left() > 0) {
    offsets.push_back(object.size() - reader.left());
    reader.raw(5);
    reader.raw(reader.u32());
  }
  offsets.push_back(object.size());
  return offsets;
}

TEST_F(LogObjectTest, FramesCannotBeDroppedDoubledOrSwapped) {
  put(make_wal(3 *
               kFrameSize));  // frames of one plain length, so nothing but the order betrays them
  const base::Bytes good = storage::content_of(storage, kName);
  const auto at = frame_offsets(good);
  ASSERT_EQ(at.size(), 4u);
  const auto build = [&](const std::vector<std::size_t>& frames) {
    base::Bytes bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(at[0]));
    for (const std::size_t i : frames) {
      bytes.insert(bytes.end(), good.begin() + static_cast<std::ptrdiff_t>(at[i]),
                   good.begin() + static_cast<std::ptrdiff_t>(at[i + 1]));
    }
    return bytes;
  };
  ASSERT_EQ(build({0, 1, 2}), good);
  for (const auto& frames : std::vector<std::vector<std::size_t>>{
           {}, {0}, {0, 1}, {1, 2}, {0, 2}, {1, 0, 2}, {0, 1, 1}, {0, 1, 2, 2}, {0, 1, 2, 0}}) {
    storage::replace_object(storage, kName, build(frames));
    expect_damaged(kName, testing::PrintToString(frames));
  }
}

TEST_F(LogObjectTest, ARenamedOneIsRefused) {
  const std::string_view other = "wal/7300000000000000000/00000001/000000010000000000000002";
  put(make_wal(1000));
  storage.put(other, storage::content_of(storage, kName));
  expect_damaged(other, "renamed");
  EXPECT_EQ(error_of([&] { stat_log(repository.context(), other); }).kind(), ErrorKind::kDamaged);
}

TEST_F(LogObjectTest, AnotherRepositorysIsRefused) {
  TestRepository other(2);
  put_log(other.context(), kName, make_wal(1000), {}, 1);
  storage.put(kName, storage::content_of(*other.storage, kName));
  expect_damaged(kName, "other keys");

  storage::delete_object(storage, kName);
  put(make_wal(1000));
  repository.keyring.repository = RepositoryId::make(repository.random);
  expect_damaged(kName, "other id");
}

// An object made by hand, that authenticates and lies.
class LyingLogTest : public LogObjectTest {
 protected:
  struct Frame {
    std::uint8_t codec = kCodecNone;
    std::uint32_t length = 0;
    base::Bytes text;
  };

  void put_object(std::uint64_t length, const std::vector<Frame>& frames,
                  std::array<std::uint8_t, 32> digest = {}, std::uint64_t sections = 0) {
    const Context context = repository.context();
    const crypto::AeadKey key;
    LogHead head;
    head.public_key = context.keyring.writing_key();
    const base::Bytes sealed = crypto::seal_to(
        head.public_key, kLogKeyContext, log_binding(context, kName), key.bytes(), context.random);
    std::copy(sealed.begin(), sealed.end(), head.sealed_key.begin());
    base::ByteWriter metadata;
    metadata.varint(length);
    metadata.raw(digest);
    metadata.u64(0);
    metadata.bytes({});
    metadata.varint(sections);
    base::ByteWriter object;
    object.raw(base::as_bytes(kLogMagic));
    object.raw(head.public_key);
    object.raw(head.sealed_key);
    object.raw(head.salt);
    base::Bytes sealed_metadata(metadata.size() + crypto::kTagSize);
    metadata_aead(context, head)
        .seal({}, metadata_associated_data(context, kName, head), metadata.view(), sealed_metadata);
    object.u32(static_cast<std::uint32_t>(sealed_metadata.size()));
    object.raw(sealed_metadata);
    crypto::Aead aead(key);
    for (std::uint32_t i = 0; i < frames.size(); ++i) {
      base::ByteWriter frame;
      frame.u8(frames[i].codec);
      frame.u32(frames[i].length);
      frame.u32(static_cast<std::uint32_t>(frames[i].text.size() + crypto::kTagSize));
      base::ByteWriter associated;
      associated.raw(log_binding(context, kName));
      associated.raw(frame.view());
      base::Bytes body(frames[i].text.size() + crypto::kTagSize);
      aead.seal(crypto::counter_nonce(i, i + 1 == frames.size()), associated.view(), frames[i].text,
                body);
      frame.raw(body);
      object.raw(frame.view());
    }
    storage.put(kName, object.view());
  }
};

TEST_F(LyingLogTest, GoodFramesArePassed) {
  put_object(8, {{.length = 4, .text = bytes_of("abcd")}, {.length = 4, .text = bytes_of("efgh")}});
  EXPECT_EQ(read(kName, LogCheck::kAuthentic), bytes_of("abcdefgh"));
}

TEST_F(LyingLogTest, AWrongDigestIsFoundWhereItIsAskedFor) {
  put_object(4, {{.length = 4, .text = bytes_of("abcd")}});
  EXPECT_EQ(error_of([&] { read(kName, LogCheck::kDigest); }).kind(), ErrorKind::kDamaged);
}

TEST_F(LyingLogTest, WrongLengthsAreRefused) {
  const auto refused = [&](std::uint64_t length, const std::vector<Frame>& frames) {
    put_object(length, frames);
    expect_damaged(kName, "length " + std::to_string(length));
    storage::delete_object(storage, kName);
  };
  refused(5, {{.length = 4, .text = bytes_of("abcd")}});
  refused(3, {{.length = 4, .text = bytes_of("abcd")}});
  refused(0, {{.length = 4, .text = bytes_of("abcd")}});
  refused(4, {});
  refused(5, {{.length = 5, .text = bytes_of("abcd")}});
  refused(~std::uint64_t{0}, {{.length = 0xffffffff, .text = bytes_of("abcd")}});
  refused(4, {{.codec = kCodecZstd, .length = 4, .text = bytes_of("abcd")}});
  refused(4, {{.codec = 7, .length = 4, .text = bytes_of("abcd")}});
  refused(0, {{.length = 0, .text = {}}});
  refused(5 * kMiB, {{.length = 5 * kMiB, .text = base::Bytes(5 * kMiB)}});
}

TEST_F(LyingLogTest, AnImpossibleNumberOfSectionsIsRefused) {
  put_object(0, {}, {}, std::uint64_t{1} << 60);
  EXPECT_EQ(error_of([&] { stat_log(repository.context(), kName); }).kind(), ErrorKind::kDamaged);
}

}  // namespace
}  // namespace holdfast::repository
