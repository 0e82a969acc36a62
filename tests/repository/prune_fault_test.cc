// The fault matrix of a prune: its n-th operation on storage fails, or is its last, for every n.
// After each, every backup that stays is whole and nothing is reported missing, and a next prune
// completes.
#include <gmock/gmock.h>

#include "prune_fixture.h"
#include "repository/sealed_object.h"
#include "storage/fault_storage.h"

namespace holdfast::repository {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using testing::HasSubstr;

class PruneFault : public Prune, public testing::WithParamInterface<storage::FaultPlan> {
 protected:
  // A backup that goes, two that stay and share with it, packs of a killed run, packs condemned by
  // an earlier prune; and enough small index objects to be joined.
  void SetUp() override {
    SampleFiles both = sample_files(1);
    for (const auto& [path, content] : sample_files(50)) both["other/" + path] = content;
    const std::string earlier = take(1, sample_files(200), 16 * 1024);
    take(2, sample_files(1), 16 * 1024);
    clocked_.pass(2 * kDay);
    run({.backups = {earlier}});
    clocked_.pass(minutes(1));
    expired_ = take(3, both, 64 * 1024);
    take(4, sample_files(50), 16 * 1024);
    for (int i = 0; i < 15; ++i) {
      put_metadata(context(), index_name(IndexId::make(repository_.random)), MetadataKind::kIndex,
                   encode_index({}));
    }
    {
      StoreRun killed(context(), {.pack_size_bytes = kPackSize});
      killed.writer->put_bytes(random_bytes(2 * kPackSize, 7));
    }
    files_.erase(expired_);
    clocked_.pass(2 * kDay);
  }

  std::string expired_;
};

TEST_P(PruneFault, LosesNothing) {
  constexpr std::size_t kMoreThanARunTakes = 3000;
  for (const base::Duration grace : {base::Duration(0), kDefaultGrace}) {
    std::size_t failures = 0;
    for (std::size_t n = 1; n < kMoreThanARunTakes; ++n) {
      SCOPED_TRACE(n);
      const auto copy = storage::open_memory();
      storage::copy_objects(*repository_.storage, *copy);
      // Everything in it has just been copied, to the storage's mind: a later day.
      storage::ClockedStorage clocked(*copy, clocked_.now() + hours(24 * 365 * 1000));
      storage::Faults faults;
      storage::FaultStorage faulty(clocked, faults);
      storage::FaultPlan plan = GetParam();
      plan.at = n;
      faults.arm(plan);
      try {
        run(repository_.context_of(faulty), {.backups = {expired_}, .grace = grace});
      } catch (const base::Error& error) {
        EXPECT_THAT(error.what(), HasSubstr("injected fault"));
        ++failures;
      }
      const bool fired = faults.fired();
      const Context context = repository_.context_of(clocked);
      expect_all_whole(context);

      // The lock of the killed one may have stayed: it is of this process, but old.
      clocked.pass(2 * kDay);
      run(context, {.backups = {expired_}, .grace = {}});
      expect_all_whole(context);
      clocked.pass(2 * kDay);
      run(context, {.grace = {}});
      EXPECT_EQ(count_of(clocked, "tombstones/"), 0u);
      EXPECT_LE(bytes_in(clocked), needed_bytes() * 23 / 20);
      expect_all_whole(context);
      if (HasFailure() || !fired) break;
    }
    EXPECT_GT(failures, 50u);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, PruneFault,
    testing::Values(storage::FaultPlan{}, storage::FaultPlan{.after_effect = true},
                    storage::FaultPlan{.from_then_on = true},
                    storage::FaultPlan{.after_effect = true, .from_then_on = true}),
    [](const auto& test) {
      return std::string(test.param.after_effect ? "AnswerLost" : "WithoutEffect") +
             (test.param.from_then_on ? "AndKilled" : "Once");
    });

}  // namespace
}  // namespace holdfast::repository
