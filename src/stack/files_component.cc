#include "stack/files_component.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "files/backup.h"
#include "files/details.h"
#include "files/restore.h"
#include "stack/backup_choice.h"
#include "stack/coverage.h"

namespace holdfast::stack {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::string_view kCheckSecrets =
    "check the restored secrets before you restart services: they are as old as the backup";

class FilesComponent final : public Component {
 public:
  explicit FilesComponent(const ComponentConfig& config)
      : config_(config), secret_(config.type == files::kSecretsType) {}

  repository::BackupSummary take_backup(const repository::Context& context,
                                        const BackupOptions& options, base::Progress& progress,
                                        std::stop_token stop) override {
    repository::BackupSummary backup = take(context, options, progress, stop);
    for (std::string& warning : cover_new_backups(context, {backup}, progress, stop)) {
      backup.warnings.push_back(std::move(warning));
    }
    return backup;
  }

  RestoreOutcome restore(const repository::Context& context, const RestoreOptions& options,
                         base::Progress& progress, std::stop_token stop) override {
    refuse_options_of_databases(options, config_.type);
    const repository::BackupRecord record = choose_backup(context, config_.name, options);
    // Whatever the configuration calls it by now.
    const bool secret = secret_ || record.summary.type == files::kSecretsType;
    files::RestoreResult result = files::restore_tree(context, record,
                                                      {.to = options.to,
                                                       .only = options.only,
                                                       .delta = options.delta,
                                                       .secret = secret,
                                                       .workers = options.workers,
                                                       .thaw = options.thaw},
                                                      progress, stop);
    RestoreOutcome outcome;
    outcome.backup = record.summary.id;
    outcome.bytes = result.bytes;
    outcome.bytes_written = result.bytes_written;
    outcome.files = result.files;
    outcome.removed = result.removed;
    for (const std::string& note : result.notes) progress.note(note);
    outcome.notes = std::move(result.notes);
    outcome.warnings = std::move(result.warnings);
    if (secret) {
      outcome.next_step = kCheckSecrets;
    } else if (!config_.after_restore.empty()) {
      outcome.next_step =
          "after_restore was not run (--run-hooks does it): " + config_.after_restore;
    }
    return outcome;
  }

  bool is_good(const repository::BackupSummary& backup) override {
    // An empty one may be of a disk that was not mounted: it does not count beside one with files.
    return files::details_of(backup).is_good() && backup.files > 0;
  }

  void check(const repository::Context*, const CheckOptions&, const Findings& report) override {
    try {
      const files::Tree tree =
          files::list_tree(config_.root, files::Selection(config_.include, config_.exclude), {});
      report(finding_of(tree));
    } catch (const Error& error) {
      report({Verdict::kBad, "files", error.what(), error.hint(), config_.name});
    }
  }

 private:
  repository::BackupSummary take(const repository::Context& context, const BackupOptions& options,
                                 base::Progress& progress, std::stop_token stop) const {
    try {
      return files::take_backup(context,
                                {.component = config_.name,
                                 .root = config_.root,
                                 .include = config_.include,
                                 .exclude = config_.exclude,
                                 .secret = secret_,
                                 .incremental = options.kind == "incremental",
                                 .job = options.job,
                                 .workers = options.workers,
                                 .rate_bytes = options.rate_bytes},
                                progress, std::move(stop));
    } catch (const Error& error) {
      // "Not found" is the answer to a question for a backup or a moment.
      if (error.kind() != ErrorKind::kNotFound) throw;
      throw Error(ErrorKind::kFailed, error.what(),
                  fmt::format("is it mounted? `root` stands at {}", config_.where));
    }
  }

  Finding finding_of(const files::Tree& tree) const {
    std::uint64_t bytes = 0;
    std::size_t count = 0;
    for (const auto& entry : tree.entries) {
      if (entry.type != repository::FileType::kFile) continue;
      ++count;
      bytes += entry.size_bytes;
    }
    Finding finding{Verdict::kGood, "files",
                    fmt::format("{} files, {}", count, base::format_size(bytes)), "", config_.name};
    if (!tree.unreadable.empty()) {
      finding.verdict = Verdict::kAttention;
      const std::string first = secret_
                                    ? std::string()
                                    : fmt::format(", {} first: {}", tree.unreadable.front().path,
                                                  tree.unreadable.front().what);
      finding.detail += fmt::format("; {} cannot be read{}", tree.unreadable.size(), first);
      finding.advice = "run as a user who may read them, or exclude them";
    } else if (const auto idle = files::patterns_without_effect(config_.include, tree);
               count == 0 || !idle.empty()) {
      finding.verdict = Verdict::kAttention;
      finding.detail +=
          idle.empty() ? "; `include` and `exclude` mean nothing that is there"
          : secret_    ? fmt::format(
                             "; {} patterns of `include` mean nothing that "
                                "is there",
                             idle.size())
                    : fmt::format("; `include` names what is not there: {}", fmt::join(idle, ", "));
      finding.advice = fmt::format("look at {}", config_.where);
    }
    return finding;
  }

  const ComponentConfig config_;
  const bool secret_;
};

}  // namespace

std::unique_ptr<Component> make_files_component(const ComponentConfig& config) {
  return std::make_unique<FilesComponent>(config);
}

}  // namespace holdfast::stack
