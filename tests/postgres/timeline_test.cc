#include "postgres/timeline.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace holdfast::postgres {
namespace {

// Timeline 5: 1 was left at 0/3000158, 3 at 0/5000000.
TimelineHistory sample() {
  return TimelineHistory::parse(5,
                                "1\t0/3000158\tno recovery target specified\n"
                                "\n"
                                "# a comment\n"
                                "3\t0/5000000\tbefore 2024-01-17 12:00:00+00\n");
}

TEST(TimelineHistory, OfATimelineWithoutParentsHoldsAll) {
  const TimelineHistory history(1);
  EXPECT_TRUE(history.parents().empty());
  EXPECT_TRUE(history.contains(1, 0));
  EXPECT_TRUE(history.contains(1, ~Lsn{0}));
  EXPECT_FALSE(history.contains(2, 5));
  EXPECT_EQ(history.timeline_of(5), 1U);
  EXPECT_EQ(history.end_of(1), std::nullopt);
}

TEST(TimelineHistory, IsRead) {
  const TimelineHistory history = sample();
  EXPECT_EQ(history.timeline(), 5U);
  ASSERT_EQ(history.parents().size(), 2U);
  EXPECT_EQ(history.parents()[0].parent, 1U);
  EXPECT_EQ(history.parents()[0].at, 0x3000158U);
  EXPECT_EQ(history.parents()[0].reason, "no recovery target specified");
  EXPECT_EQ(history.parents()[1].parent, 3U);
}

TEST(TimelineHistory, KnowsWhereEachAncestorBeginsAndEnds) {
  const TimelineHistory history = sample();
  EXPECT_EQ(history.start_of(1), 0U);
  EXPECT_EQ(history.end_of(1), 0x3000158U);
  EXPECT_EQ(history.start_of(3), 0x3000158U);
  EXPECT_EQ(history.end_of(3), 0x5000000U);
  EXPECT_EQ(history.start_of(5), 0x5000000U);
  EXPECT_EQ(history.end_of(5), std::nullopt);
  EXPECT_FALSE(history.is_member(2));
  EXPECT_EQ(history.start_of(2), std::nullopt);
  EXPECT_EQ(history.end_of(2), std::nullopt);
}

TEST(TimelineHistory, KnowsWhichPointsLieOnIt) {
  const TimelineHistory history = sample();
  EXPECT_TRUE(history.contains(1, 0x3000157));
  EXPECT_TRUE(history.contains(1, 0x3000158));
  EXPECT_FALSE(history.contains(1, 0x3000159));
  EXPECT_FALSE(history.contains(3, 0x3000157));
  EXPECT_TRUE(history.contains(3, 0x3000158));
  EXPECT_TRUE(history.contains(3, 0x5000000));
  EXPECT_FALSE(history.contains(3, 0x5000001));
  EXPECT_TRUE(history.contains(5, 0x5000000));
  EXPECT_FALSE(history.contains(5, 0x4FFFFFF));
  EXPECT_FALSE(history.contains(2, 0x3000158));
}

TEST(TimelineHistory, KnowsWhoseTheBytesAre) {
  const TimelineHistory history = sample();
  EXPECT_EQ(history.timeline_of(0), 1U);
  EXPECT_EQ(history.timeline_of(0x3000157), 1U);
  EXPECT_EQ(history.timeline_of(0x3000158), 3U);
  EXPECT_EQ(history.timeline_of(0x5000000), 5U);
  EXPECT_EQ(history.timeline_of(~Lsn{0}), 5U);
}

// Someone restored along timeline 2 but to a moment before 2 began: the server writes this.
TEST(TimelineHistory, UnderstandsABranchFromBeforeItsParentBegan) {
  const auto history = TimelineHistory::parse(3, "1\t0/3000000\tx\n2\t0/2000000\ty\n");
  EXPECT_EQ(history.end_of(1), 0x2000000U);
  EXPECT_EQ(history.timeline_of(0x1FFFFFF), 1U);
  EXPECT_EQ(history.timeline_of(0x2000000), 3U);
  EXPECT_EQ(history.timeline_of(0x3000000), 3U);
  EXPECT_FALSE(history.contains(1, 0x2500000));
  EXPECT_FALSE(history.contains(2, 0x3000000));
}

TEST(TimelineHistory, ReadsAFileWithoutLastNewlineAndWithoutReason) {
  EXPECT_EQ(TimelineHistory::parse(2, "1 0/28").end_of(1), 0x28U);
  EXPECT_EQ(TimelineHistory::parse(2, "1\t0/28\t\r\n").parents()[0].reason, "");
}

TEST(TimelineHistory, RefusesWhatIsNone) {
  for (const char* text : {"", "# nothing\n", "1\n", "1\t\n", "x\t0/28\n", "1x\t0/28\n",
                           "0\t0/28\n", "1\t028\n", "1\t0/28 \n1\t0/29\n", "2\t0/28\n", "7\t0/28\n",
                           "1\t0/28\n99999999999\t0/29\n", "-1\t0/28\n"}) {
    EXPECT_THROW(TimelineHistory::parse(2, text), base::Error) << text;
  }
  EXPECT_THROW(TimelineHistory::parse(9, "3\t0/28\n2\t0/29\n"), base::Error);
  EXPECT_THROW(TimelineHistory::parse(2, std::string(5 << 20, '#')), base::Error);
}

}  // namespace
}  // namespace holdfast::postgres
