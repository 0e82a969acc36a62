// The fault matrix of a copy: its n-th operation on the target, or on the source, fails or is its
// last, for every n. After each, the target holds whole backups or none, and the next copy
// completes.
#include <gmock/gmock.h>

#include "copy_fixture.h"
#include "storage/fault_storage.h"

namespace holdfast::repository {
namespace {

using testing::HasSubstr;

class CopyFault : public CopyTest, public testing::WithParamInterface<storage::FaultPlan> {
 protected:
  // A backup that both hold, and two that are to be copied and share with it.
  void SetUp() override {
    earlier_ = take(1, sample_files(1));
    copy_one(from(), to(), earlier_);
    copy_one(from(), other(), earlier_);
    backups_ = {take(2, changed_files()), take(3, sample_files(50))};
  }

  // Of `target` as it stands, with faults in it or in the source. Gives whether one was injected.
  bool run_with_fault(const Context& target, bool in_source, std::size_t n) {
    const auto copy_of_target = storage::open_memory();
    storage::copy_objects(target.storage, *copy_of_target);
    const Context plain = of(target, *copy_of_target);
    const auto copy_of_source = storage::open_memory();
    storage::copy_objects(*from_.storage, *copy_of_source);
    storage::Faults faults;
    storage::FaultStorage faulty(in_source ? *copy_of_source : *copy_of_target, faults);
    storage::FaultPlan plan = GetParam();
    plan.at = n;
    faults.arm(plan);
    const Context source = in_source ? from_.context_of(faulty) : from_.context_of(*copy_of_source);
    try {
      for (const auto& copied : copy(source, in_source ? plain : of(target, faulty), backups_)) {
        if (!copied.error) continue;
        EXPECT_THAT(copied.error->what(), HasSubstr("injected fault"));
      }
    } catch (const base::Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("injected fault"));
    }
    const bool fired = faults.fired();
    for (const BackupSummary& backup : list_backups(plain).backups) expect_whole(plain, backup.id);

    for (const auto& copied : copy(from_.context_of(*copy_of_source), plain, backups_)) {
      if (copied.error) ADD_FAILURE() << copied.error->what();
    }
    EXPECT_EQ(list_backups(plain).backups.size(), 3u);
    for (const auto& [id, files] : files_) expect_whole(plain, id);
    const Index index = Index::load(plain);
    for (const Index::Problem& problem : index.problems()) {
      ADD_FAILURE() << problem.object << ": " << problem.what;
    }
    return fired;
  }

  static Context of(const Context& context, storage::Storage& storage) {
    return {storage, context.keyring, context.clock, context.random, 3};
  }

  void run_all(const Context& target, bool in_source) {
    constexpr std::size_t kMoreThanARunTakes = 2000;
    std::size_t n = 1;
    for (; n < kMoreThanARunTakes; ++n) {
      SCOPED_TRACE(n);
      if (!run_with_fault(target, in_source, n) || HasFailure()) break;
    }
    EXPECT_GT(n, 20u);
  }

  std::string earlier_;
  std::vector<std::string> backups_;
};

TEST_P(CopyFault, InTheTargetLosesNothing) { run_all(to(), false); }
TEST_P(CopyFault, InTheSourceLosesNothing) { run_all(to(), true); }
TEST_P(CopyFault, InTheTargetOfOtherKeysLosesNothing) { run_all(other(), false); }
TEST_P(CopyFault, InTheSourceOfOtherKeysLosesNothing) { run_all(other(), true); }

INSTANTIATE_TEST_SUITE_P(
    Kinds, CopyFault,
    testing::Values(storage::FaultPlan{}, storage::FaultPlan{.after_effect = true},
                    storage::FaultPlan{.from_then_on = true},
                    storage::FaultPlan{.after_effect = true, .from_then_on = true}),
    [](const auto& test) {
      return std::string(test.param.after_effect ? "AnswerLost" : "WithoutEffect") +
             (test.param.from_then_on ? "AndKilled" : "Once");
    });

}  // namespace
}  // namespace holdfast::repository
