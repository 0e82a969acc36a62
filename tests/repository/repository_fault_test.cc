// The fault matrix: the n-th operation on storage fails, for every n, while a backup is taken.
// After each, nothing that was there is lost, and the next run succeeds.
#include <gmock/gmock.h>

#include "repository/format_object.h"
#include "sample_backup.h"
#include "storage/damage.h"
#include "storage/fault_storage.h"

namespace holdfast::storage {
namespace {

std::string name_of_plan(const FaultPlan& plan) {
  return std::string(plan.after_effect ? "AnswerLost" : "WithoutEffect") +
         (plan.from_then_on ? "AndKilled" : "Once");
}

}  // namespace

void PrintTo(const FaultPlan& plan, std::ostream* out);
void PrintTo(const FaultPlan& plan, std::ostream* out) { *out << name_of_plan(plan); }

}  // namespace holdfast::storage

namespace holdfast::repository {
namespace {

constexpr std::size_t kPackSize = 4096;  // every chunk a pack: more to fail

class RepositoryFault : public testing::TestWithParam<storage::FaultPlan> {
 protected:
  // A repository with one backup.
  void SetUp() override {
    storage::Storage& storage = *repository_.storage;
    storage.put("format", encode_format(repository_.keyring, "{}"));
    Credential credential;
    credential.key_file_secret.emplace();
    add_key_slot(storage, repository_.keyring, credential, "test", repository_.clock.now(),
                 repository_.random);
    leave_killed_run();
    earlier_ = take_sample_backup(repository_.context(), 1, earlier_files_);
  }

  // A pack that no index names: Index::load reads its directory.
  void leave_killed_run() {
    StoreRun run(repository_.context(), {.pack_size_bytes = kPackSize});
    run.writer->put_bytes(random_bytes(2 * kPackSize, 5));
    run.writer->put_bytes(random_bytes(2 * kPackSize, 6));
    run.writer->put_bytes(random_bytes(2 * kPackSize, 7));
  }

  // Half of it is there already.
  static SampleFiles new_files() {
    SampleFiles files = sample_files(1);
    files["base/1/4000"] = sample_pages(30, 77);
    files["base/1/2000"] = sample_pages(6, 78);
    return files;
  }

  void expect_whole(const Context& context, const std::string& backup, const SampleFiles& files) {
    for (const Damage& damage : verify_backups(context, {backup}).damaged) {
      ADD_FAILURE() << damage.object << " of " << damage.backup << ": " << damage.problem;
    }
    EXPECT_EQ(read_sample_backup(context, backup), files);
  }

  TestRepository repository_;
  const SampleFiles earlier_files_ = sample_files(1);
  std::string earlier_;
};

TEST_P(RepositoryFault, LosesNothing) {
  constexpr std::size_t kMoreThanARunTakes = 1000;
  std::size_t failures = 0;
  for (std::size_t n = 1; n < kMoreThanARunTakes; ++n) {
    SCOPED_TRACE(n);
    const auto copy = storage::open_memory();
    storage::copy_objects(*repository_.storage, *copy);
    const Context context = repository_.context_of(*copy);
    storage::Faults faults;
    storage::FaultStorage faulty(*copy, faults);
    storage::FaultPlan plan = GetParam();
    plan.at = n;
    faults.arm(plan);

    std::string backup;
    try {
      backup = take_sample_backup(repository_.context_of(faulty), 2, new_files(), kPackSize);
    } catch (const base::Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("injected fault"));
      ++failures;
    }
    const bool fired = faults.fired();
    EXPECT_NE(fired, !backup.empty());  // no failure is hidden

    expect_whole(context, earlier_, earlier_files_);
    const std::string next = take_sample_backup(context, 3, new_files());
    expect_whole(context, next, new_files());
    // Whatever record is there is of a whole backup.
    for (const BackupSummary& summary : list_backups(context).backups) {
      expect_whole(context, summary.id, summary.id == earlier_ ? earlier_files_ : new_files());
    }
    if (HasFailure() || !fired) break;
  }
  EXPECT_GT(failures, 24u);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, RepositoryFault,
    testing::Values(storage::FaultPlan{}, storage::FaultPlan{.after_effect = true},
                    storage::FaultPlan{.from_then_on = true},
                    storage::FaultPlan{.after_effect = true, .from_then_on = true}),
    [](const auto& test) { return storage::name_of_plan(test.param); });

}  // namespace
}  // namespace holdfast::repository
