// Backups of a real tree into a repository in memory, by a clock that the test sets.
#pragma once

#include <algorithm>
#include <optional>

#include "files/backup.h"
#include "files/restore_plan.h"
#include "restore_fixture.h"
#include "storage/damage.h"

namespace holdfast::files {

// Does as it is told at moments of a backup, one at a time, and keeps what it is told.
class Watcher final : public base::Progress {
 public:
  void phase(std::string_view name, std::uint64_t) override {
    if (name == "reading" && on_reading) on_reading();
  }
  void advance(std::uint64_t) override {
    const auto lines = lines_.lock();
    if (on_piece) on_piece();
  }
  void note(std::string_view line) override { lines_.lock()->emplace_back(line); }
  void warning(std::string_view line) override { lines_.lock()->emplace_back(line); }

  std::vector<std::string> lines() { return *lines_.lock(); }

  std::function<void()> on_reading;  // after the listing, before the first file is opened
  std::function<void()> on_piece;    // a piece of a file was read

 private:
  base::Guarded<std::vector<std::string>> lines_;
};

class BackupTest : public RestoreTest {
 protected:
  struct SetClock final : base::Clock {
    base::Time now() const override { return time; }
    // Later than what the test does: what was not touched counts as unchanged.
    base::Time time = std::chrono::time_point_cast<base::Duration>(
        std::chrono::system_clock::now() + std::chrono::hours(1));
  };

  BackupTest() {
    fs::create_directory(source_);
    request_.component = "config";
    request_.root = source_;
  }

  repository::Context context_of(storage::Storage& storage) {
    return {storage, repository_.keyring, clock_, repository_.random, 3};
  }
  repository::Context context() { return context_of(*repository_.storage); }

  repository::BackupSummary take(const repository::Context& with, base::Progress& progress) {
    clock_.time += std::chrono::minutes(1);
    return take_backup(with, request_, progress, {});
  }
  repository::BackupSummary take() { return take(context(), watcher_); }
  repository::BackupSummary take_incremental() {
    request_.incremental = true;
    return take();
  }

  std::vector<std::string> backups() {
    std::vector<std::string> ids;
    for (const auto& backup : repository::list_backups(context()).backups) ids.push_back(backup.id);
    return ids;
  }

  std::vector<FileEntry> entries_of(const std::string& id) {
    const repository::Context with = context();
    const repository::Index index = repository::Index::load(with);
    repository::ChunkReader reader(with, index);
    std::vector<FileEntry> entries;
    repository::load_file_table(repository::get_record(with, id).file_table, reader,
                                [&](FileEntry&& entry) { entries.push_back(std::move(entry)); });
    return entries;
  }
  FileEntry entry_named(const std::string& id, const std::string& path) {
    const std::vector<FileEntry> entries = entries_of(id);
    const FileEntry* entry = find_entry(entries, path);
    if (entry != nullptr) return *entry;
    ADD_FAILURE() << path << " is not in the backup";
    return {};
  }

  using Snapshot = std::map<std::string, std::string>;
  Snapshot restored_from(const repository::Context& with, const std::string& id) {
    const fs::path to = directory_.path() / fmt::format("restored-{}", restored_++);
    restore_tree(with, repository::get_record(with, id), {.to = to, .secret = request_.secret},
                 progress_, {});
    Snapshot found = snapshot(to);
    fs::remove_all(to);
    if (request_.secret) found.erase(".");  // is as whoever restores makes it
    return found;
  }
  // All that the repository holds of it is whole, and what is restored is that.
  void expect_whole(const repository::Context& with, const std::string& id, const Snapshot& is) {
    for (const auto& damage : repository::verify_backups(with, {id}).damaged) {
      if (damage.object == "format" || damage.object == "keys/") continue;  // there is none here
      ADD_FAILURE() << damage.object << ": " << damage.problem;
    }
    EXPECT_EQ(restored_from(with, id), is);
  }
  void expect_whole(const std::string& id) { expect_whole(context(), id, snapshot(source_)); }
  // Where the root itself was changed after the listing: but for its time.
  void expect_whole_below_the_root(const std::string& id) {
    Snapshot restored = restored_from(context(), id);
    Snapshot source = snapshot(source_);
    restored.erase(".");
    source.erase(".");
    EXPECT_EQ(restored, source);
  }

  // Until whatever is changed from now on gets another time than what was changed before.
  void let_the_kernels_clock_move() {
    const fs::path probe = directory_.path() / "probe";
    write_text(probe, "");
    const auto moment = [&] {
      const timespec time = status_of(probe).st_ctim;
      return std::pair(time.tv_sec, time.tv_nsec);
    };
    for (const auto then = moment(); moment() == then;) write_text(probe, "");
  }
  // Other content, and all that a program can set is as it was.
  void change_in_secret(const fs::path& path, std::string_view text) {
    let_the_kernels_clock_move();
    const timespec modified = status_of(path).st_mtim;
    write_text(path, text);
    set_modified(path, modified.tv_sec, modified.tv_nsec);
  }

  std::string warnings_of(const repository::BackupSummary& backup) {
    return fmt::format("{}", fmt::join(backup.warnings, "\n"));
  }

  SetClock clock_;
  BackupRequest request_;
  Watcher watcher_;

 private:
  int restored_ = 0;
};

}  // namespace holdfast::files
