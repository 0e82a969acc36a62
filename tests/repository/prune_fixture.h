// A repository whose storage has a clock of its own, backups in it, and prunes of it.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "repository/prune.h"
#include "sample_backup.h"
#include "storage/clocked_storage.h"
#include "storage/damage.h"

namespace holdfast::repository {

inline constexpr std::size_t kPackSize = 4096;  // every chunk a pack
inline constexpr base::Duration kDay = std::chrono::hours(24);

inline std::uint64_t bytes_in(storage::Storage& storage, std::string_view prefix = "packs/") {
  std::uint64_t sum = 0;
  storage.list(prefix, [&](const storage::ObjectInfo& info) { sum += info.size_bytes; });
  return sum;
}

inline std::size_t count_of(storage::Storage& storage, std::string_view prefix) {
  return storage::names_in(storage, prefix).size();
}

// Backups that stay are noted, and held against what the repository gives.
class Prune : public testing::Test {
 protected:
  Context context() { return repository_.context_of(clocked_); }

  std::string take(int number, const SampleFiles& files, std::size_t pack_size = kPackSize) {
    const std::string id = take_sample_backup(context(), number, files, pack_size);
    files_[id] = files;
    return id;
  }

  // As a later run of the program would.
  PruneReport run(const Context& context, PruneRequest request) {
    base::NoProgress progress;
    const auto lock = take_prune_lock(context);
    return prune(context, request, *lock, progress, {});
  }
  PruneReport run(PruneRequest request = {}) {
    for (const std::string& backup : request.backups) files_.erase(backup);
    return run(context(), std::move(request));
  }

  void expect_whole(const Context& context, const std::string& backup) {
    for (const Damage& damage : verify_backups(context, {backup}).damaged) {
      if (damage.object == "format" || damage.object == "keys/") continue;  // there is none here
      ADD_FAILURE() << damage.object << " of " << damage.backup << ": " << damage.problem;
    }
    EXPECT_EQ(read_sample_backup(context, backup), files_.at(backup)) << backup;
  }
  void expect_all_whole(const Context& context) {
    for (const auto& [id, files] : files_) expect_whole(context, id);
    const Index index = Index::load(context);
    for (const Index::Problem& problem : index.problems()) {
      ADD_FAILURE() << problem.object << ": " << problem.what;
    }
  }

  // What the packs of these backups alone would take.
  std::uint64_t needed_bytes() {
    TestRepository other;
    int number = 1;
    for (const auto& [id, files] : files_) {
      take_sample_backup(other.context(), number++, files, 1024 * 1024);
    }
    return bytes_in(*other.storage);
  }

  TestRepository repository_;
  storage::ClockedStorage clocked_{*repository_.storage, StoppedClock().now()};
  std::map<std::string, SampleFiles> files_;  // of the backups that are to stay
};

}  // namespace holdfast::repository
