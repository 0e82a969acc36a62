#include "storage/storage_class.h"

#include <gtest/gtest.h>

namespace holdfast::storage {
namespace {

using std::chrono::days;
using std::chrono::hours;

TEST(StorageClass, KnowsWhatMustBeThawed) {
  for (const char* name : {"GLACIER", "DEEP_ARCHIVE"}) EXPECT_TRUE(may_be_frozen(name)) << name;
  for (const char* name :
       {"", "STANDARD", "STANDARD_IA", "GLACIER_IR", "INTELLIGENT_TIERING", "A_POOL_OF_ITS_OWN"}) {
    EXPECT_FALSE(may_be_frozen(name)) << name;
  }
  EXPECT_EQ(find_storage_class("A_POOL_OF_ITS_OWN"), nullptr);
  EXPECT_EQ(find_storage_class("")->name, "STANDARD");
  EXPECT_EQ(find_storage_class("DEEP_ARCHIVE")->minimum, days(180));
}

// The example at https://repost.aws/knowledge-center/s3-manage-data-retrieval.
TEST(StorageClass, CountsAsAmazonDoes) {
  const auto& terms = find_storage_class("GLACIER")->thaw;
  const std::uint64_t hundred_tb = std::uint64_t{102'400} << 30;
  EXPECT_NEAR(thaw_cost(terms[1], 15'000'000, hundred_tb, 0), 1'774, 0.01);
  EXPECT_NEAR(thaw_cost(terms[0], 15'000'000, hundred_tb, 0), 0, 0.01);
  // Kept for ten days at the price of STANDARD.
  EXPECT_NEAR(thaw_cost(terms[0], 1, hundred_tb, 10), 102'400 * 0.023 / 3, 0.01);
  EXPECT_NEAR(storage_cost(*find_storage_class("GLACIER"), std::uint64_t{10} << 30, hours(24 * 15)),
              0.018, 1e-6);
}

}  // namespace
}  // namespace holdfast::storage
