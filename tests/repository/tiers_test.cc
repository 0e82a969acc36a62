// Repositories in cold storage: what must be thawed before it is read, and what a prune makes of
// it.
#include <gmock/gmock.h>

#include "prune_fixture.h"
#include "repository/cold_packs.h"
#include "repository/unfinished_uploads.h"
#include "storage/tiered_storage.h"

namespace holdfast::repository {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using storage::ThawSpeed;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Tiers : public Prune {
 protected:
  Context tiered() { return repository_.context_of(tiered_); }

  std::string take_in(const std::string& storage_class, int number, const SampleFiles& files,
                      std::size_t pack_size = kPackSize) {
    tiered_.bulk_class = storage_class;
    const std::string id = take_sample_backup(tiered(), number, files, pack_size);
    tiered_.bulk_class.clear();
    return id;
  }
  void require(const std::string& backup, const ThawRequest& request) {
    const Context context = tiered();
    require_thawed(context, Index::load(context), get_record(context, backup), request, progress_,
                   {});
  }
  ThawReport refusal_of(const std::string& backup, const ThawRequest& request = {}) {
    try {
      require(backup, request);
    } catch (const FrozenError& error) {
      return error.report();
    }
    ADD_FAILURE() << "nothing is frozen";
    return {};
  }

  base::NoProgress progress_;
  storage::TieredStorage tiered_{clocked_};
};

TEST_F(Tiers, NothingIsAskedOfARepositoryWithoutColdPacks) {
  for (const char* storage_class : {"", "STANDARD_IA", "GLACIER_IR", "OF_ITS_OWN"}) {
    const std::string id = take_in(storage_class, 1, sample_files(1));
    require(id, {});
    EXPECT_EQ(tiered_.states(), 0) << storage_class;
    tiered_.remove(record_name(id));
  }
}

TEST_F(Tiers, ARefusalTellsWhatThawingTakes) {
  const std::string id = take_in("GLACIER", 1, sample_files(1));
  const std::string other = take_in("DEEP_ARCHIVE", 2, sample_files(50));
  const ThawReport report = refusal_of(id);
  EXPECT_GT(report.frozen.packs, 5u);
  EXPECT_EQ(report.waiting_for.size(), report.frozen.packs);
  EXPECT_THAT(report.storage_classes, ElementsAre("GLACIER"));
  ASSERT_EQ(report.estimates.size(), 3u);
  EXPECT_EQ(report.estimates[0].speed, ThawSpeed::kBulk);
  EXPECT_EQ(report.estimates[0].most, hours(12));
  EXPECT_EQ(report.estimates[2].least, minutes(1));
  EXPECT_LT(report.estimates[0].dollars, report.estimates[2].dollars);
  EXPECT_EQ(tiered_.thaws(), 0);

  const ThawReport deep = refusal_of(other);
  EXPECT_EQ(deep.estimates.size(), 2u);
  EXPECT_EQ(deep.estimates[0].most, hours(48));
  const auto error = error_of([&] { require(other, {.speed = ThawSpeed::kExpedited}); });
  EXPECT_EQ(error.kind(), base::ErrorKind::kUsage);
  EXPECT_EQ(tiered_.thaws(), 0);
}

TEST_F(Tiers, AThawIsAskedForOnceAndWaitedFor) {
  const std::string id = take_in("DEEP_ARCHIVE", 1, sample_files(1));
  tiered_.looks_to_thaw = 3;
  const ThawReport asked = refusal_of(id, {.speed = ThawSpeed::kBulk});
  EXPECT_EQ(asked.requested, ThawSpeed::kBulk);
  EXPECT_EQ(tiered_.thaws(), static_cast<int>(asked.frozen.packs));
  const ThawReport again = refusal_of(id, {.speed = ThawSpeed::kBulk});
  EXPECT_EQ(again.frozen.packs, 0u);
  EXPECT_EQ(again.under_way.packs, asked.frozen.packs);
  EXPECT_EQ(tiered_.thaws(), static_cast<int>(asked.frozen.packs));
  EXPECT_FALSE(refusal_of(id).requested);
  require(id, {.wait = true});
  EXPECT_EQ(read_sample_backup(tiered(), id), sample_files(1));
  require(id, {});
}

TEST_F(Tiers, WhereTheNamesMeanNothingNothingIsThawed) {
  tiered_.freezes = false;
  const std::string id = take_in("GLACIER", 1, sample_files(1));
  require(id, {});
  EXPECT_EQ(verify_backups(tiered(), {id}).frozen.size(), 0u);
}

TEST_F(Tiers, AWaitEndsWhenItIsStopped) {
  const std::string id = take_in("GLACIER", 1, sample_files(1));
  tiered_.looks_to_thaw = 1'000'000;
  std::stop_source stop;
  stop.request_stop();
  const Context context = tiered();
  const Index index = Index::load(context);
  const auto error = error_of([&] {
    require_thawed(context, index, get_record(context, id),
                   {.speed = ThawSpeed::kBulk, .wait = true}, progress_, stop.get_token());
  });
  EXPECT_EQ(error.kind(), base::ErrorKind::kInterrupted);
}

TEST_F(Tiers, VerifyCallsWhatIsFrozenNoDamage) {
  const std::string id = take_in("GLACIER", 1, sample_files(1));
  const VerifyReport report = verify_backups(tiered(), {id});
  EXPECT_GT(report.frozen.size(), 5u);
  EXPECT_EQ(report.frozen.front().backup, id);
  for (const Damage& damage : report.damaged) EXPECT_FALSE(damage.object.starts_with("packs/"));
  put_verify_report(tiered(), {.backups = {id}}, report);
  EXPECT_THAT(verified_times(tiered()), IsEmpty());

  refusal_of(id, {.speed = ThawSpeed::kBulk});
  require(id, {});
  EXPECT_THAT(verify_backups(tiered(), {id}).frozen, IsEmpty());
}

// A killed run's packs have no index object: what they hold is not known while they are frozen.
TEST_F(Tiers, FrozenPacksThatNoIndexNamesStopNothing) {
  const std::string id = take_in("GLACIER", 1, sample_files(1));
  for (const std::string& name : storage::names_in(*repository_.storage, "index/")) {
    tiered_.remove(name);
  }
  const Index index = Index::load(tiered());
  EXPECT_THAT(index.problems(),
              testing::Each(testing::Field(&Index::Problem::what, HasSubstr("is frozen"))));
  EXPECT_GT(index.problems().size(), 5u);
  take_in("GLACIER", 2, sample_files(1));
  EXPECT_FALSE(Index::load(tiered()).objects().empty());
}

TEST_F(Tiers, APruneDoesNotReadColdPacksAndShowsWhatIsPaidFor) {
  SampleFiles both = sample_files(1);
  const SampleFiles part = both;
  for (const auto& [path, content] : sample_files(50)) both["other/" + path] = content;
  for (const char* storage_class : {"GLACIER", "GLACIER_IR"}) {
    const std::string old = take_in(storage_class, 1, both, 1024 * 1024);
    const std::string stays = take_in(storage_class, 2, part, 1024 * 1024);
    clocked_.pass(2 * kDay);
    const PruneReport report = run(tiered(), {.backups = {old}, .grace = {}});
    EXPECT_THAT(report.problems, IsEmpty());
    EXPECT_THAT(report.notes, ElementsAre(HasSubstr("class of storage")));
    EXPECT_GT(report.dead_bytes, report.live_bytes / 10);
    tiered_.remove(record_name(stays));
    clocked_.pass(200 * kDay);
    run(tiered(), {.grace = {}});
    EXPECT_EQ(bytes_in(*repository_.storage), 0u) << storage_class;
  }
}

TEST_F(Tiers, PacksThatGoEarlyAreCountedOrKept) {
  const std::string old = take_in("GLACIER_IR", 1, sample_files(1));
  take_in("GLACIER_IR", 2, sample_files(50));
  clocked_.pass(10 * kDay);
  const PruneReport kept =
      run(tiered(), {.backups = {old}, .grace = kDay, .wait_for_minimum = true});
  EXPECT_GT(kept.kept_to_minimum.packs, 5u);
  EXPECT_EQ(kept.early.packs.packs, 0u);
  const auto is_hot = [&](std::uint64_t condemned) {
    return condemned < kept.kept_to_minimum.packs;
  };
  EXPECT_TRUE(is_hot(kept.condemned.packs)) << "metadata has no minimum";

  const PruneReport first = run(tiered(), {.grace = kDay});
  EXPECT_EQ(first.early.packs.packs, kept.kept_to_minimum.packs);
  const double a_month = storage::gigabytes(first.early.packs.bytes) * 0.004;
  EXPECT_NEAR(first.early.dollars, a_month * 79 / 30, a_month / 30);
  ASSERT_TRUE(first.early.end);

  // Condemned already, they wait all the same where that is asked for.
  clocked_.pass(2 * kDay);
  const PruneReport waiting = run(tiered(), {.grace = kDay, .wait_for_minimum = true});
  EXPECT_EQ(waiting.waiting.packs, kept.kept_to_minimum.packs);
  ASSERT_TRUE(waiting.next);
  EXPECT_GT(*waiting.next, clocked_.now() + 70 * kDay);
  clocked_.pass(80 * kDay);
  const PruneReport late = run(tiered(), {.grace = kDay, .wait_for_minimum = true});
  EXPECT_EQ(late.removed.packs, kept.kept_to_minimum.packs);
  EXPECT_EQ(late.early.packs.packs, 0u);
}

TEST_F(Tiers, AbandonedUploadsAreThoseOfNoRun) {
  const base::Time now = clocked_.now();
  tiered_.uploads = {{"packs/aa/old", "1", now - 2 * kDay},
                     {"packs/aa/young", "2", now - hours(1)},
                     {"packs/aa/at_work", "3", now - minutes(1)}};
  const auto ids = [&](base::Duration grace, std::optional<base::Time> oldest_run) {
    std::vector<std::string> result;
    for (const auto& upload : abandoned_uploads(tiered(), now, grace, oldest_run).uploads) {
      result.push_back(upload.id);
    }
    return result;
  };
  EXPECT_THAT(ids(kDay, std::nullopt), ElementsAre("1"));
  EXPECT_THAT(ids(kDay, now - 3 * kDay), IsEmpty());
  EXPECT_THAT(ids({}, now - minutes(2)), ElementsAre("1", "2"));
  EXPECT_THAT(ids({}, std::nullopt), ElementsAre("1", "2", "3"));
  abort_uploads(tiered(), abandoned_uploads(tiered(), now, kDay, std::nullopt).uploads);
  EXPECT_THAT(ids({}, std::nullopt), ElementsAre("2", "3"));
}

}  // namespace
}  // namespace holdfast::repository
