#include "repository/repository.h"

#include <gmock/gmock.h>

#include "fixture.h"
#include "storage/damage.h"
#include "storage/fault_storage.h"

namespace holdfast::repository {
namespace {

using base::ErrorKind;
using testing::HasSubstr;

class RepositoryTest : public testing::Test {
 protected:
  void make(storage::Storage& where) { create(where, key_file, "first", clock, random); }

  // Opens a copy of the objects.
  std::unique_ptr<Repository> open(storage::Storage& from, const Credential& credential) {
    auto copy = storage::open_memory();
    storage::copy_objects(from, *copy);
    return Repository::open(std::move(copy), credential, clock, random, 3);
  }

  StoppedClock clock;
  RepeatableRandom random;
  Credential key_file = parse_key_file(make_key_file(random));
  std::unique_ptr<storage::Storage> storage = storage::open_memory();
};

TEST_F(RepositoryTest, IsMadeAndOpened) {
  EXPECT_FALSE(exists(*storage));
  make(*storage);
  EXPECT_TRUE(exists(*storage));
  const auto repository = open(*storage, key_file);
  EXPECT_TRUE(repository->keyring().can_read_data());
  EXPECT_EQ(repository->slot(), list_key_slots(*storage).at(0).id);
  EXPECT_NO_THROW(repository->require_reading("a restore"));
}

TEST_F(RepositoryTest, IsMadeOnceAndOnlyWhereNothingIs) {
  make(*storage);
  const auto before = storage::names_in(*storage);
  EXPECT_EQ(error_of([&] { make(*storage); }).kind(), ErrorKind::kRefused);
  EXPECT_EQ(storage::names_in(*storage), before);

  const auto used = storage::open_memory();
  used->put("holiday.jpg", base::as_bytes("…"));
  const base::Error error = error_of([&] { make(*used); });
  EXPECT_EQ(error.kind(), ErrorKind::kRefused);
  EXPECT_THAT(error.what(), HasSubstr("holiday.jpg"));
  EXPECT_EQ(storage::names_in(*used).size(), 1u);
}

TEST_F(RepositoryTest, IsNotFoundWhereThereIsNone) {
  const base::Error error = error_of([&] { open(*storage, key_file); });
  EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  EXPECT_THAT(error.hint(), HasSubstr("holdfast init"));
}

TEST_F(RepositoryTest, ACreationThatIsKilledAnywhereCanBeRunAgain) {
  for (const bool after_effect : {false, true}) {
    for (std::size_t n = 1;; ++n) {
      const auto where = storage::open_memory();
      storage::Faults faults;
      storage::FaultStorage faulty(*where, faults);
      faults.arm({.at = n, .after_effect = after_effect, .from_then_on = true});
      try {
        make(faulty);
      } catch (const base::Error&) {
      }
      if (!exists(*where)) make(*where);
      EXPECT_NO_THROW(open(*where, key_file)) << n;
      std::vector<std::string> damaged;
      EXPECT_EQ(list_key_slots(*where, &damaged).size(), 1u) << n;
      EXPECT_TRUE(damaged.empty()) << n;
      if (!faults.fired()) break;
    }
  }
}

TEST_F(RepositoryTest, WhatAKilledCreationLeftHurtsNobody) {
  storage::Faults faults;
  storage::FaultStorage faulty(*storage, faults);
  faults.arm({.at = 1,
              .from_then_on = true,
              .operations = {storage::Operation::kPut},
              .name_prefix = "format"});
  EXPECT_THROW(make(faulty), base::Error);
  const auto leftover = storage::names_in(*storage);
  ASSERT_EQ(leftover.size(), 1u);

  // Killed again, now before it has removed what the first left: the repository is whole.
  faults.arm({.at = 1, .from_then_on = true, .operations = {storage::Operation::kRemove}});
  EXPECT_THROW(make(faulty), base::Error);
  EXPECT_NO_THROW(open(*storage, key_file));
  std::vector<std::string> damaged;
  const auto slots = list_key_slots(*storage, &damaged);
  ASSERT_EQ(slots.size(), 1u);
  EXPECT_EQ(damaged, leftover);
  EXPECT_EQ(error_of([&] { remove_key_slot(*storage, slots[0].id); }).kind(), ErrorKind::kRefused);
  SlotId id;
  ASSERT_TRUE(base::from_hex(leftover[0].substr(5), id.bytes));
  EXPECT_TRUE(remove_key_slot(*storage, id));
}

// The moment between the look and the put, in which another run makes the repository.
TEST_F(RepositoryTest, OfTwoCreatorsOneWins) {
  class Rival final : public storage::Storage {
   public:
    Rival(storage::Storage& inner, std::function<void()> act)
        : inner_(inner), act_(std::move(act)) {}
    storage::PutResult put(std::string_view name, base::ByteView content,
                           storage::Use use) override {
      if (name == "format") std::exchange(act_, [] {})();
      return inner_.put(name, content, use);
    }
    std::optional<base::Bytes> get(std::string_view name, std::uint64_t max) override {
      return inner_.get(name, max);
    }
    std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                    base::MutableByteView buffer) override {
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
    std::function<void()> act_;
  };

  const Credential other_key_file = parse_key_file(make_key_file(random));
  Rival rival(*storage, [&] { create(*storage, other_key_file, "rival", clock, random); });
  EXPECT_EQ(error_of([&] { make(rival); }).kind(), ErrorKind::kRefused);
  EXPECT_NO_THROW(open(*storage, other_key_file));
  EXPECT_EQ(error_of([&] { open(*storage, key_file); }).kind(), ErrorKind::kKey);
}

TEST_F(RepositoryTest, AnExportedKeyOpensItsOwnRepositoryAlone) {
  make(*storage);
  const auto keyring = open(*storage, key_file)->keyring();
  const Credential full = parse_key_file(export_key_file(keyring));
  const Credential write_only = parse_key_file(export_key_file(keyring.write_only()));
  EXPECT_NO_THROW(open(*storage, full)->require_reading("a restore"));
  const auto opened = open(*storage, write_only);
  EXPECT_FALSE(opened->slot());
  const base::Error refused = error_of([&] { opened->require_reading("a restore"); });
  EXPECT_EQ(refused.kind(), ErrorKind::kRefused);
  EXPECT_THAT(refused.what(), HasSubstr("a restore"));

  const auto other = storage::open_memory();
  make(*other);
  EXPECT_EQ(error_of([&] { open(*other, full); }).kind(), ErrorKind::kKey);
}

TEST_F(RepositoryTest, EveryDamageOfTheFormatObjectIsFound) {
  make(*storage);
  const Credential full = parse_key_file(export_key_file(open(*storage, key_file)->keyring()));
  const base::Bytes good = storage::content_of(*storage, "format");
  for_each_bit(good.size(), 1, [&](std::size_t bit) {
    storage::flip_bit(*storage, "format", bit);
    const bool in_id = bit / 8 >= 12 && bit / 8 < 28;
    const bool newer = bit / 8 >= 8 && bit / 8 < 12 && bit != 64;  // 64 makes it version 0
    const ErrorKind with_slot = error_of([&] { open(*storage, key_file); }).kind();
    EXPECT_EQ(with_slot, newer ? ErrorKind::kFailed : ErrorKind::kDamaged) << bit;
    const ErrorKind exported = error_of([&] { open(*storage, full); }).kind();
    EXPECT_EQ(exported, in_id ? ErrorKind::kKey : with_slot) << bit;
    storage::replace_object(*storage, "format", good);
  });
  for (std::size_t size = 0; size < good.size(); ++size) {
    storage::truncate_object(*storage, "format", size);
    EXPECT_EQ(error_of([&] { open(*storage, key_file); }).kind(), ErrorKind::kDamaged) << size;
    storage::replace_object(*storage, "format", good);
  }
  storage::append_to_object(*storage, "format", base::as_bytes("x"));
  EXPECT_EQ(error_of([&] { open(*storage, key_file); }).kind(), ErrorKind::kDamaged);
}

TEST_F(RepositoryTest, ANewerFormatIsNamedAsSuch) {
  make(*storage);
  base::Bytes newer = storage::content_of(*storage, "format");
  newer[8] = 2;
  storage::replace_object(*storage, "format", newer);
  const base::Error error = error_of([&] { open(*storage, key_file); });
  EXPECT_THAT(error.what(), HasSubstr("version 2"));
  EXPECT_THAT(error.hint(), HasSubstr("newer"));
}

TEST_F(RepositoryTest, TheFormatOfAnotherIsRefused) {
  make(*storage);
  const auto other = storage::open_memory();
  make(*other);
  storage::replace_object(*storage, "format", storage::content_of(*other, "format"));
  EXPECT_EQ(error_of([&] { open(*storage, key_file); }).kind(), ErrorKind::kDamaged);
}

}  // namespace
}  // namespace holdfast::repository
