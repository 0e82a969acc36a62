#include "repository/backup_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
#include "repository/publish.h"

namespace holdfast::repository {
namespace {

// Never given twice: the next free second. What is later than the newest one is free.
std::string free_backup_id(const Context& context, const std::string& component, base::Time started,
                           std::string_view newest) {
  for (;; started += std::chrono::seconds(1)) {
    std::string id = make_backup_id(component, started);
    if (id > newest && !newest.empty()) return id;
    if (!context.storage.stat(record_name(id))) return id;
  }
}

}  // namespace

BackupRun::BackupRun(const Context& context, const std::string& component, base::Progress& progress)
    : context_(context), component_(component), progress_(progress) {
  LockRequest request;
  request.kind = "backup";
  request.scope = component;
  request.exclusive_in_scope = true;
  request.command = "holdfast backup " + component;
  progress.phase("loading the index", 0);
  lock_ = Lock::take(context, request, [&] {
    base::share_out(2, std::min(2, context.storage.requests_at_once()), {}, [&] {
      return [&](std::size_t n) {
        if (n == 0) {
          newest_ = newest_backup(context, component);
        } else {
          index_ = Index::load(context);
        }
      };
    });
  });
  if (newest_) newest_id_ = newest_->summary.id;
}

void BackupRun::begin(BackupSummary& summary) const {
  summary.component = component_;
  summary.previous = newest_id_;
  summary.started = context_.clock.now();
  summary.id = free_backup_id(context_, component_, summary.started, newest_id_);
}

void BackupRun::publish(BackupRecord& record, const std::stop_token& stop) const {
  record.summary.finished = context_.clock.now();
  base::throw_if_stopped(stop);
  if (publish_record(context_, record, index_, *lock_) == storage::PutResult::kExists) {
    throw base::Error(base::ErrorKind::kFailed,
                      fmt::format("another backup took the id {} meanwhile", record.summary.id),
                      "run the backup again: what was stored is found and not stored twice");
  }
}

void BackupRun::end(BackupSummary& summary) {
  if (const std::string problem = lock_->problem(); !problem.empty()) {
    summary.warnings.push_back("the lock could not be kept alive: " + problem);
  }
  if (const std::string note = lock_->release(); !note.empty()) progress_.note(note);
}

}  // namespace holdfast::repository
