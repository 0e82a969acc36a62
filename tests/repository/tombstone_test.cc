#include "repository/tombstone.h"

#include <random>

#include "fixture.h"
#include "storage/damage.h"

namespace holdfast::repository {
namespace {

std::vector<PackId> some_packs() {
  std::vector<PackId> packs(3);
  for (std::size_t i = 0; i < packs.size(); ++i) {
    packs[i].bytes.fill(static_cast<std::uint8_t>(i + 1));
  }
  return packs;
}

TEST(Tombstone, RoundTrip) {
  TestRepository repository;
  put_tombstone(repository.context(), some_packs());
  const TombstoneList list = list_tombstones(repository.context());
  ASSERT_EQ(list.tombstones.size(), 1u);
  const Tombstone& tombstone = list.tombstones[0];
  EXPECT_EQ(tombstone.packs, some_packs());
  EXPECT_EQ(tombstone.put, repository.storage->stat(tombstone_name(tombstone.id))->modified);
  EXPECT_TRUE(list.damaged.empty());
}

TEST(Tombstone, ThatIsDamagedIsNamedAndLeftOut) {
  TestRepository repository;
  put_tombstone(repository.context(), some_packs());
  const std::string name = storage::names_in(*repository.storage).front();
  for (std::size_t bit : {std::size_t{0}, std::size_t{400}, std::size_t{600}}) {
    storage::flip_bit(*repository.storage, name, bit);
    const TombstoneList list = list_tombstones(repository.context());
    EXPECT_TRUE(list.tombstones.empty());
    ASSERT_EQ(list.damaged.size(), 1u);
    EXPECT_EQ(list.damaged[0].first, name);
    storage::flip_bit(*repository.storage, name, bit);
  }
}

TEST(Tombstone, BearsHostileBytes) {
  const base::Bytes good = encode_tombstone(some_packs());
  EXPECT_EQ(decode_tombstone(good), some_packs());
  std::mt19937 generator(5);
  for (int round = 0; round < 5'000; ++round) {
    base::Bytes bad = good;
    bad[generator() % bad.size()] = static_cast<std::uint8_t>(generator());
    bad.resize(round % 3 == 0 ? generator() % bad.size() : bad.size() + generator() % 2);
    try {
      decode_tombstone(bad);
    } catch (const base::Error& error) {
      ASSERT_EQ(error.kind(), base::ErrorKind::kDamaged) << error.what();
    }
  }
}

}  // namespace
}  // namespace holdfast::repository
