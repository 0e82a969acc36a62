#include "stack/nearest.h"

#include <gtest/gtest.h>

namespace holdfast::stack {
namespace {

TEST(Nearest, CountsTheStepsBetweenWords) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("backup", "backup"), 0U);
  EXPECT_EQ(edit_distance("bakcup", "backup"), 1U);  // a swap is one step
  EXPECT_EQ(edit_distance("backp", "backup"), 1U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
}

TEST(Nearest, GivesWhatIsCloseAndNothingElse) {
  EXPECT_EQ(nearest("comprssion", {"url", "compression"}), "compression");
  EXPECT_EQ(nearest("xyz", {"url", "compression"}), std::nullopt);
  EXPECT_EQ(nearest("x", {}), std::nullopt);
  EXPECT_EQ(nearest(std::string(1000, 'x'), {"url"}), std::nullopt);
}

TEST(Nearest, SuggestsOneOrNamesAll) {
  EXPECT_EQ(suggest("ulr", {"url", "key_file"}), "did you mean \"url\"?");
  EXPECT_EQ(suggest("qqqqqqqq", {"url", "key_file"}), "known: url, key_file");
  EXPECT_EQ(suggest("x", {}), "");
}

}  // namespace
}  // namespace holdfast::stack
