#include "repository/sealed_object.h"

#include <gmock/gmock.h>

#include "crypto/aead.h"
#include "fixture.h"
#include "storage/contents.h"
#include "storage/damage.h"

namespace holdfast::repository {
namespace {

using base::ErrorKind;
using storage::PutResult;
using testing::HasSubstr;

constexpr auto kKind = MetadataKind::kRecord;
constexpr std::string_view kName = "backups/database/one";

class SealedObjectTest : public testing::Test {
 protected:
  void put(base::ByteView body) {
    EXPECT_EQ(put_metadata(repository.context(), kName, kKind, body), PutResult::kCreated);
  }
  // Reading it says that it is damaged, and names it.
  void expect_damaged(std::string_view name, std::string_view how) {
    const base::Error error = error_of([&] { get_metadata(repository.context(), name, kKind); });
    EXPECT_EQ(error.kind(), ErrorKind::kDamaged) << how;
    EXPECT_THAT(error.what(), HasSubstr(std::string(name))) << how;
  }

  TestRepository repository;
  storage::Storage& storage = *repository.storage;
};

TEST_F(SealedObjectTest, GivesBackWhatWasPut) {
  for (const int level : {0, 3}) {
    repository.compression_level = level;
    for (const std::size_t size : {0, 1, 100, 100'000}) {
      for (const bool random : {false, true}) {
        const base::Bytes body = random ? storage::make_content(size, 7) : base::Bytes(size, 'x');
        const std::string name = "reports/" + ReportId::make(repository.random).hex();
        EXPECT_EQ(put_metadata(repository.context(), name, kKind, body), PutResult::kCreated);
        EXPECT_EQ(get_metadata(repository.context(), name, kKind), body);
        EXPECT_EQ(get_metadata(repository.write_only_context(), name, kKind), body);
      }
    }
  }
}

TEST_F(SealedObjectTest, CompressesAndHides) {
  put(base::Bytes(100'000, 'x'));
  const base::Bytes object = storage::content_of(storage, kName);
  EXPECT_LT(object.size(), 300u);
  EXPECT_THAT(std::string(base::as_text(object)), testing::Not(HasSubstr("xxxx")));
}

TEST_F(SealedObjectTest, IsNeverOverwritten) {
  put(base::as_bytes("first"));
  EXPECT_EQ(put_metadata(repository.context(), kName, kKind, base::as_bytes("second")),
            PutResult::kExists);
  EXPECT_EQ(get_metadata(repository.context(), kName, kKind), bytes_of("first"));
}

TEST_F(SealedObjectTest, WhatIsNotThereIsNoError) {
  EXPECT_EQ(get_metadata(repository.context(), kName, kKind), std::nullopt);
}

TEST_F(SealedObjectTest, EveryDamageIsFound) {
  for (const int level : {0, 3}) {
    repository.compression_level = level;
    base::Bytes body = storage::make_content(500, 1);
    body.insert(body.end(), 1000, 'x');
    put(body);
    const base::Bytes good = storage::content_of(storage, kName);
    for_each_bit(good.size(), 7, [&](std::size_t bit) {
      storage::flip_bit(storage, kName, bit);
      expect_damaged(kName, "bit " + std::to_string(bit));
      storage::replace_object(storage, kName, good);
    });
    for (std::size_t size = 0; size < good.size(); size += 3) {
      storage::truncate_object(storage, kName, size);
      expect_damaged(kName, "size " + std::to_string(size));
      storage::replace_object(storage, kName, good);
    }
    storage::append_to_object(storage, kName, base::as_bytes("x"));
    expect_damaged(kName, "appended");
    storage::delete_object(storage, kName);
  }
}

TEST_F(SealedObjectTest, ARenamedOneIsRefused) {
  put(base::as_bytes("body"));
  storage.put("backups/database/two", storage::content_of(storage, kName));
  expect_damaged("backups/database/two", "renamed");
}

TEST_F(SealedObjectTest, AnotherRepositorysIsRefused) {
  TestRepository other(2);
  put_metadata(other.context(), kName, kKind, base::as_bytes("body"));
  storage.put(kName, storage::content_of(*other.storage, kName));
  expect_damaged(kName, "other keys");

  // Even one with the same keys.
  repository.keyring.repository = RepositoryId::make(repository.random);
  storage::delete_object(storage, kName);
  put(base::as_bytes("body"));
  repository.keyring.repository = RepositoryId::make(repository.random);
  expect_damaged(kName, "other id");
}

TEST_F(SealedObjectTest, AnotherKindIsRefused) {
  put(base::as_bytes("body"));
  const base::Error error =
      error_of([&] { get_metadata(repository.context(), kName, MetadataKind::kLock); });
  EXPECT_EQ(error.kind(), ErrorKind::kDamaged);
}

// An object that authenticates and lies: a defect of another writer. No memory is taken for its
// lengths.
TEST_F(SealedObjectTest, AHostileLengthIsRefused) {
  const base::Bytes text = bytes_of("text");
  for (const std::uint8_t codec : base::Bytes{0, 1, 2}) {
    for (const std::uint64_t length :
         {std::uint64_t{3}, std::uint64_t{1} << 31, ~std::uint64_t{0}}) {
      base::ByteWriter header;
      header.raw(base::as_bytes(std::string_view("HFMETA\0\1", 8)));
      header.u8(static_cast<std::uint8_t>(kKind));
      header.u8(codec);
      header.u64(length);
      header.raw(base::Bytes(32, 1));
      base::ByteWriter associated;
      associated.raw(header.view());
      associated.raw(repository.keyring.repository.bytes);
      associated.raw(base::as_bytes(kName));
      crypto::Aead aead(crypto::hkdf_key<crypto::AeadKey>(
          base::Bytes(32, 1), repository.keyring.metadata.bytes(), "holdfast metadata v1"));
      base::Bytes sealed(text.size() + crypto::kTagSize);
      aead.seal(crypto::Nonce{}, associated.view(), text, sealed);
      header.raw(sealed);
      storage.put(kName, header.view());
      expect_damaged(kName, "codec " + std::to_string(codec));
      storage::delete_object(storage, kName);
    }
  }
}

}  // namespace
}  // namespace holdfast::repository
