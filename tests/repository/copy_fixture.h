// Two repositories, backups in one of them with a log each, and copies to the other.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "repository/copy.h"
#include "repository/format_object.h"
#include "repository/log_object.h"
#include "sample_backup.h"
#include "storage/damage.h"

namespace holdfast::repository {

inline constexpr std::size_t kCopyPackSize = 4096;  // every chunk a pack

inline std::string log_of(const std::string& backup) { return "wal/1/00000001/" + backup; }

inline std::vector<std::string> logs_of(const BackupSummary& backup) { return {log_of(backup.id)}; }

class CopyTest : public testing::Test {
 protected:
  CopyTest() {
    prepare(from_.context());
    prepare(from_.context_of(*to_));
    prepare(other_.context());
  }

  Context from() { return from_.context(); }
  Context to() { return from_.context_of(*to_); }
  // Of other keys.
  Context other() { return other_.context(); }
  Context write_only(storage::Storage& storage) {
    return {storage, from_.write_only, from_.clock, from_.random, 3};
  }

  static void prepare(const Context& context) {
    context.storage.put("format", encode_format(context.keyring, "{}"));
    Credential credential;
    credential.key_file_secret.emplace();
    add_key_slot(context.storage, context.keyring, credential, "test", context.clock.now(),
                 context.random);
  }

  std::string take(int number, const SampleFiles& files) {
    const std::string id = take_sample_backup(from(), number, files, kCopyPackSize);
    files_[id] = files;
    put_log(from(), log_of(id), random_bytes(5000, static_cast<std::uint32_t>(number)),
            {{"section", bytes_of("about it")}}, 1);
    return id;
  }

  static std::vector<CopiedBackup> copy(const Context& from, const Context& to,
                                        std::vector<std::string> backups, bool dry_run = false) {
    std::vector<CopiedBackup> result;
    base::NoProgress progress;
    copy_backups(from, to, {.backups = std::move(backups), .dry_run = dry_run}, logs_of,
                 [&](CopiedBackup&& copied) { result.push_back(std::move(copied)); }, progress, {});
    return result;
  }
  // Of one that must succeed.
  static CopiedBackup copy_one(const Context& from, const Context& to, const std::string& backup) {
    std::vector<CopiedBackup> copied = copy(from, to, {backup});
    if (copied.at(0).error) throw *copied.at(0).error;
    return copied.at(0);
  }
  base::Error refusal(const Context& from, const Context& to, const std::string& backup) {
    return error_of([&] { copy_one(from, to, backup); });
  }

  void expect_whole(const Context& context, const std::string& backup) {
    for (const Damage& damage : verify_backups(context, {backup}, false, logs_of).damaged) {
      ADD_FAILURE() << damage.object << " of " << damage.backup << ": " << damage.problem;
    }
    EXPECT_EQ(read_sample_backup(context, backup), files_.at(backup)) << backup;
    base::Bytes log;
    const auto keep = [&](base::ByteView piece) {
      log.insert(log.end(), piece.begin(), piece.end());
    };
    const auto info = read_log(context, log_of(backup), keep, LogCheck::kDigest);
    ASSERT_TRUE(info);
    EXPECT_EQ(info->archived, stat_log(from(), log_of(backup))->archived);
    EXPECT_EQ(*info->section("section"), bytes_of("about it"));
    EXPECT_EQ(log, log_content(from(), backup));
  }

  static base::Bytes log_content(const Context& context, const std::string& backup) {
    base::Bytes log;
    read_log(context, log_of(backup),
             [&](base::ByteView piece) { log.insert(log.end(), piece.begin(), piece.end()); });
    return log;
  }

  static std::vector<std::string> names(const Context& context, std::string_view prefix) {
    return storage::names_in(context.storage, prefix);
  }

  // Half of it is that of sample_files(1).
  static SampleFiles changed_files() {
    SampleFiles files = sample_files(1);
    files["base/1/2000"] = sample_pages(6, 78);
    files["base/1/4000"] = sample_pages(10, 77);
    return files;
  }

  TestRepository from_;
  TestRepository other_{2};
  std::unique_ptr<storage::Storage> to_ = storage::open_memory();
  std::map<std::string, SampleFiles> files_;
};

}  // namespace holdfast::repository
