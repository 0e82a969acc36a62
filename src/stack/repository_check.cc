#include "stack/repository_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "repository/lock.h"
#include "repository/record.h"
#include "stack/repositories.h"
#include "storage/directory.h"
#include "storage/object_store.h"

namespace holdfast::stack {
namespace {

using base::Error;

class Check {
 public:
  Check(const RepositoryConfig& config, const Findings& report)
      : config_(config), report_([this, &report](Finding finding) {
          finding.repository = config_.name;
          report(std::move(finding));
        }) {}

  RepositoryCheck run(const base::Clock& clock, crypto::Random& random) {
    attempt("key", [&] { check_key(); });
    attempt("repository", [&] {
      result_.repository = open_repository(config_, clock, random);
      good("repository", fmt::format("{} opens ({})", config_.url,
                                     result_.repository->keyring().can_read_data()
                                         ? "reading and writing"
                                         : "writing alone, as the key allows"));
    });
    if (config_.is_directory()) {
      attempt("space", [&] { check_space(); });
    } else {
      attempt("credentials", [&] { check_credentials_file(); });
      attempt("store", [&] { check_store(clock, random); });
    }
    if (result_.repository == nullptr) return std::move(result_);
    attempt("lock", [&] { check_lock(); });
    attempt("records", [&] { check_records(); });
    attempt("clock", [&] { check_clock(clock.now()); });
    return std::move(result_);
  }

 private:
  // One test: an Error that leaves it is a bad finding.
  template <typename Test>
  void attempt(std::string_view what, Test&& test) {
    try {
      test();
    } catch (const Error& error) {
      // That the key is missing has been said already when the repository does not open without it.
      if (what == "repository" && key_failed_ && error.kind() == base::ErrorKind::kKey) return;
      if (what == "key") key_failed_ = true;
      if (!result_.failure) result_.failure = error.kind();
      report_({Verdict::kBad, std::string(what), error.what(), error.hint(), {}});
    } catch (const std::exception& error) {
      report_({Verdict::kBad, std::string(what), error.what(), {}, {}});
    }
  }
  void good(std::string what, std::string detail) {
    report_({Verdict::kGood, std::move(what), std::move(detail), {}, {}});
  }
  void attention(std::string what, std::string detail, std::string advice) {
    report_({Verdict::kAttention, std::move(what), std::move(detail), std::move(advice), {}});
  }

  void check_key() {
    read_credential(config_);
    if (config_.key_file.empty()) return good("key", "a passphrase is given");
    if (key_file_access(config_.key_file) == KeyFileAccess::kGroup) {
      return attention(
          "key", fmt::format("{} can be read by its group", config_.key_file),
          fmt::format("if the group does not need it: chmod 600 {}", config_.key_file));
    }
    good("key", fmt::format("{} can be read by its owner alone", config_.key_file));
  }

  // A lock is taken as a backup would, and given back: the way to try writing without leaving
  // anything.
  void check_lock() {
    repository::Lock::take(result_.repository->context(),
                           {.kind = "check", .scope = "", .command = "holdfast check"});
    good("lock", "can be written, and nothing forbids a backup");
  }

  void check_records() {
    const auto catalog = repository::list_backups(result_.repository->context());
    for (const auto& backup : catalog.backups) {
      newest_stored_ = std::max(newest_stored_, backup.bytes_stored);
      newest_ = std::max(newest_, backup.finished);
    }
    for (const auto& problem : catalog.damaged) {
      if (!result_.failure) result_.failure = base::ErrorKind::kDamaged;
      report_({Verdict::kBad,
               "records",
               fmt::format("{}: {}", problem.object, problem.what),
               "run `holdfast verify --all` to see what else is damaged",
               {}});
    }
    if (catalog.damaged.empty()) {
      good("records", fmt::format("{} backups can be read", catalog.backups.size()));
    }
    check_room_for_next();
  }

  // Those in other places are protected by whoever gave them.
  void check_credentials_file() {
    const std::string file = storage::s3::credentials_file(config_.s3.credentials).string();
    if (key_file_access(file) != KeyFileAccess::kOthers) return;
    attention("credentials", fmt::format("every user of this machine may read {}", file),
              fmt::format("run: chmod 600 {}", file));
  }

  void check_store(const base::Clock& clock, crypto::Random& random) {
    std::unique_ptr<storage::Storage> own;
    if (result_.repository == nullptr) own = open_storage(config_, clock, random);
    storage::Storage& storage = own ? *own : result_.repository->storage();
    if (storage.object_store() == nullptr) return;
    for (storage::StoreFinding& found : storage.object_store()->examine()) {
      using Theirs = storage::StoreFinding::Verdict;
      const Verdict verdict = found.verdict == Theirs::kGood        ? Verdict::kGood
                              : found.verdict == Theirs::kAttention ? Verdict::kAttention
                                                                    : Verdict::kBad;
      report_(
          {verdict, std::move(found.what), std::move(found.detail), std::move(found.advice), {}});
    }
  }

  void check_space() {
    space_ = storage::space_of(config_.url);
    const std::string detail =
        fmt::format("{} of {} are free below {}", base::format_size(space_->free_bytes),
                    base::format_size(space_->total_bytes), config_.url);
    constexpr std::uint64_t kScarcePart = 10;  // a tenth
    if (space_->free_bytes < space_->total_bytes / kScarcePart) {
      attention("space", detail, "give the repository more room before it is full");
    } else {
      good("space", detail);
    }
  }

  void check_room_for_next() {
    if (!space_ || newest_stored_ <= space_->free_bytes) return;
    report_({Verdict::kBad,
             "space",
             fmt::format("the largest backup took {}, and {} are free",
                         base::format_size(newest_stored_), base::format_size(space_->free_bytes)),
             "give the repository more room: the next backup may not fit",
             {}});
  }

  // A clock that is behind gives new backups ids that look older than those that are there.
  void check_clock(base::Time now) {
    constexpr std::chrono::minutes kTolerance{1};
    base::Time newest = newest_;
    result_.repository->storage().list("backups/", [&](const storage::ObjectInfo& object) {
      newest = std::max(newest, object.modified);
    });
    if (newest > now + kTolerance) {
      return attention("clock",
                       fmt::format("it is {} here, and the newest backup is of {}",
                                   base::format_time(now), base::format_time(newest)),
                       "set this machine's clock right (NTP)");
    }
    good("clock", base::format_time(std::chrono::floor<std::chrono::seconds>(now)));
  }

  const RepositoryConfig& config_;
  const Findings report_;
  RepositoryCheck result_;
  std::optional<storage::SpaceInfo> space_;
  std::uint64_t newest_stored_ = 0;
  base::Time newest_;
  bool key_failed_ = false;
};

}  // namespace

RepositoryCheck check_repository(const RepositoryConfig& config, const base::Clock& clock,
                                 crypto::Random& random, const Findings& report) {
  return Check(config, report).run(clock, random);
}

}  // namespace holdfast::stack
