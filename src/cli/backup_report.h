// What a run of `backup` or `dump` has done and where it failed: told as it goes, and as one JSON
// document at its end.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "cli/session.h"
#include "repository/record.h"

namespace holdfast::cli {

class BackupReport {
 public:
  explicit BackupReport(Session& session) : session_(session) {}
  // There is more than one: each line and error says which it is of.
  void name_repositories() { name_repositories_ = true; }
  void name_components() { name_components_ = true; }

  void done(repository::BackupSummary backup, const std::string& repository);
  void failed(const std::string& component, const std::string& repository, base::Error error);
  // Told once.
  void could_not_open(const std::vector<std::string>& components, const std::string& repository,
                      const base::Error& error);
  void print_json();

  // The exit status. `only_one`: one component in one repository was asked for, and so its
  // failure's own status is the run's.
  int status(bool only_one) const;

 private:
  struct Done {
    repository::BackupSummary backup;
    std::string repository;
  };
  struct Failure {
    std::string component;
    std::string repository;
    base::Error error;
  };

  Session& session_;
  bool name_repositories_ = false;
  bool name_components_ = false;
  std::vector<Done> done_;
  std::vector<Failure> failed_;
};

}  // namespace holdfast::cli
