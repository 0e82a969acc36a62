#include "postgres/wal_ahead.h"

#include <gmock/gmock.h>
#include <sys/file.h>

#include <fstream>
#include <thread>

#include "base/file.h"
#include "postgres/wal_builder.h"
#include "repository/fixture.h"
#include "storage/temporary_directory.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint32_t kSize = 1 << 20;

class WalAhead : public testing::Test {
 protected:
  WalAhead() {
    fs::create_directories(pg_wal_ / "archive_status");
    fs::create_directories(private_);
  }

  static std::string name(std::uint64_t number) { return format_segment_name({1, number}, kSize); }
  fs::path path(std::uint64_t number) const { return pg_wal_ / name(number); }

  void make_segment(std::uint64_t number, bool ready = true) const {
    WalBuilder builder(number * kSize, kSize);
    base::write_file_durably(path(number), builder.bytes(), 0600);
    if (ready) std::ofstream(pg_wal_ / "archive_status" / (name(number) + ".ready"));
  }
  // As the server does when it was told that the segment is archived.
  void mark_done(std::uint64_t number) const {
    fs::remove(pg_wal_ / "archive_status" / (name(number) + ".ready"));
  }
  std::string object(std::uint64_t number) const {
    return wal_object_name(WalBuilder::kSystemId, name(number));
  }

  bool is_archived(std::uint64_t number) const {
    return repository_.storage->stat(object(number)).has_value();
  }

  // Archives it and leaves the note.
  void archive(std::uint64_t number) {
    notes_.begin(name(number));
    const std::string before = notes_.look_at(name(number));
    const PushedWal pushed = push_wal(repository_.context(), path(number), 1);
    notes_.end(name(number), before, pushed.object);
  }

  storage::TemporaryDirectory directory_;
  const fs::path pg_wal_ = directory_.path() / "pg_wal";
  const fs::path private_ = directory_.path() / "private";
  repository::TestRepository repository_;
  ArchivedNotes notes_{private_, pg_wal_, *repository_.storage};
};

TEST_F(WalAhead, ANoteHoldsOnce) {
  make_segment(5);
  EXPECT_FALSE(notes_.take(name(5)));
  archive(5);
  EXPECT_TRUE(notes_.take(name(5)));
  EXPECT_FALSE(notes_.take(name(5)));
}

TEST_F(WalAhead, ANoteDoesNotHoldForAnotherFile) {
  make_segment(5);
  archive(5);
  make_segment(5);  // the same content, in another file
  EXPECT_FALSE(notes_.take(name(5)));
}

TEST_F(WalAhead, ANoteDoesNotHoldForAFileThatWasWrittenTo) {
  make_segment(5);
  archive(5);
  const base::UniqueFd file = base::open_file(path(5), O_WRONLY);
  base::write_at(file.get(), 100, base::as_bytes("x"), path(5));
  EXPECT_FALSE(notes_.take(name(5)));
}

TEST_F(WalAhead, ANoteDoesNotHoldWithoutItsObject) {
  make_segment(5);
  archive(5);
  repository_.storage->remove(object(5));
  EXPECT_FALSE(notes_.take(name(5)));
}

TEST_F(WalAhead, ANoteOfAFileThatChangedWhileItWasArchivedIsNotLeft) {
  make_segment(5);
  const std::string before = notes_.look_at(name(5));
  const PushedWal pushed = push_wal(repository_.context(), path(5), 1);
  make_segment(5);
  notes_.end(name(5), before, pushed.object);
  EXPECT_FALSE(notes_.has(name(5)));
}

TEST_F(WalAhead, NotesOfAnotherServerAreOthers) {
  make_segment(5);
  archive(5);
  EXPECT_FALSE(ArchivedNotes(private_, directory_.path(), *repository_.storage).take(name(5)));
}

TEST_F(WalAhead, ABrokenNoteIsNone) {
  make_segment(5);
  archive(5);
  for (const auto& entry : fs::directory_iterator(private_)) {
    std::ofstream(entry.path(), std::ios::trunc) << object(5) << "\n";
  }
  EXPECT_FALSE(notes_.take(name(5)));
}

TEST_F(WalAhead, FollowsWithoutAGapAndNoFurther) {
  for (const std::uint64_t number : {5, 6, 7, 9}) make_segment(number);
  make_segment(8, false);
  EXPECT_THAT(ready_after(path(5), 8), ElementsAre(name(6), name(7)));
  EXPECT_THAT(ready_after(path(5), 1), ElementsAre(name(6)));
  EXPECT_THAT(ready_after(path(8), 8), ElementsAre(name(9)));
  EXPECT_THAT(ready_after(path(9), 8), IsEmpty());
}

TEST_F(WalAhead, ArchivesWhatFollowsAndGoesOnAsTheServerDoes) {
  for (std::uint64_t number = 5; number < 12; ++number) make_segment(number);
  std::jthread server([&] {
    // take() may be asked before the note is there; then a call would archive by itself.
    for (std::uint64_t number = 6; number < 12; ++number) {
      while (!notes_.take(name(number))) std::this_thread::yield();
      EXPECT_TRUE(is_archived(number));
      mark_done(number);
    }
  });
  archive_ahead(repository_.context(), notes_, path(5), {.most = 2, .workers = 2});
  server.join();
  EXPECT_FALSE(is_archived(5));
}

TEST_F(WalAhead, IsNeverFurtherAheadThanItMay) {
  for (std::uint64_t number = 5; number < 12; ++number) make_segment(number);
  archive_ahead(repository_.context(), notes_, path(5), {.most = 3, .workers = 2});  // none asks
  EXPECT_TRUE(is_archived(8));
  EXPECT_FALSE(is_archived(9));
  EXPECT_TRUE(notes_.take(name(8)));
}

TEST_F(WalAhead, EndsAtAFailure) {
  for (std::uint64_t number = 5; number < 12; ++number) make_segment(number);
  std::ofstream(path(7), std::ios::trunc) << std::string(kSize, 'x');
  archive_ahead(repository_.context(), notes_, path(5), {.most = 6, .workers = 1});
  EXPECT_TRUE(notes_.take(name(6)));
  EXPECT_FALSE(notes_.take(name(7)));
  EXPECT_FALSE(is_archived(9));
}

TEST_F(WalAhead, OneProcessAtATime) {
  for (const std::uint64_t number : {5, 6}) make_segment(number);
  const base::UniqueFd other = base::open_file(notes_.lock_file(), O_RDWR | O_CREAT);
  ASSERT_EQ(::flock(other.get(), LOCK_EX), 0);
  EXPECT_TRUE(notes_.is_served());
  archive_ahead(repository_.context(), notes_, path(5), {});
  EXPECT_FALSE(is_archived(6));
}

}  // namespace
}  // namespace holdfast::postgres
