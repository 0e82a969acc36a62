#include "postgres/wal_prefetch.h"

#include <gtest/gtest.h>
#include <sys/file.h>

#include <fstream>

#include "postgres/wal_archive.h"
#include "storage/temporary_directory.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;

const std::string kSegment = "000000010000000000000007";
const std::string kNext = "000000010000000000000008";

class FetchedAheadTest : public testing::Test {
 protected:
  FetchedAheadTest() { fs::create_directories(ahead_.directory()); }

  static void make(const fs::path& path) { std::ofstream(path) << "content"; }

  storage::TemporaryDirectory pg_wal_;
  const fs::path destination_ = pg_wal_.path() / "RECOVERYXLOG";
  FetchedAhead ahead_{pg_wal_.path(), "/repository", 7};
};

TEST_F(FetchedAheadTest, MovesWhatIsThere) {
  EXPECT_FALSE(ahead_.take(kSegment, destination_));
  make(ahead_.place_of(kSegment));
  EXPECT_TRUE(ahead_.take(kSegment, destination_));
  EXPECT_TRUE(fs::exists(destination_));
  EXPECT_FALSE(ahead_.take(kSegment, destination_));
}

TEST_F(FetchedAheadTest, OfAnotherRepositoryOrSystemIsNotTaken) {
  make(ahead_.place_of(kSegment));
  EXPECT_FALSE(FetchedAhead(pg_wal_.path(), "/other", 7).take(kSegment, destination_));
  EXPECT_FALSE(FetchedAhead(pg_wal_.path(), "/repository", 8).take(kSegment, destination_));
}

TEST_F(FetchedAheadTest, DoesNotWaitForOneThatWasKilled) {
  make(unfinished_fetch(ahead_.place_of(kSegment)));
  make(ahead_.position_file());
  EXPECT_FALSE(ahead_.take(kSegment, destination_));
}

TEST_F(FetchedAheadTest, FollowsOnlyWhereOneIsAtWork) {
  EXPECT_FALSE(ahead_.follow(kSegment));
  make(ahead_.position_file());
  EXPECT_FALSE(ahead_.follow(kSegment));
  const base::UniqueFd other = base::open_file(ahead_.position_file(), O_RDWR);
  ASSERT_EQ(::flock(other.get(), LOCK_EX), 0);
  EXPECT_TRUE(ahead_.follow(kSegment));
  EXPECT_EQ(base::read_text_file(ahead_.position_file(), 100), kSegment);
}

TEST_F(FetchedAheadTest, RemovesWhatIsNotWanted) {
  make(ahead_.position_file());
  make(ahead_.place_of(kSegment));
  make(ahead_.place_of(kNext));
  make(unfinished_fetch(ahead_.place_of(kNext)));
  make(ahead_.directory() / (kNext + ".0123456789abcdef"));  // before the machine restarted
  ahead_.remove_all_but(kNext, kNext);
  EXPECT_FALSE(fs::exists(ahead_.place_of(kSegment)));
  EXPECT_TRUE(fs::exists(ahead_.place_of(kNext)));
  EXPECT_TRUE(fs::exists(unfinished_fetch(ahead_.place_of(kNext))));
  EXPECT_FALSE(fs::exists(ahead_.directory() / (kNext + ".0123456789abcdef")));
  EXPECT_TRUE(fs::exists(ahead_.position_file()));
}

TEST_F(FetchedAheadTest, WhatAKilledOneLeftIsRemovedUnlessOneIsAtWork) {
  make(ahead_.position_file());
  make(ahead_.place_of(kSegment));
  {
    const base::UniqueFd other = base::open_file(ahead_.position_file(), O_RDWR);
    ASSERT_EQ(::flock(other.get(), LOCK_EX), 0);
    remove_fetched_ahead(pg_wal_.path());
    EXPECT_TRUE(fs::exists(ahead_.place_of(kSegment)));
  }
  remove_fetched_ahead(pg_wal_.path());
  EXPECT_FALSE(fs::exists(ahead_.directory()));
}

}  // namespace
}  // namespace holdfast::postgres
