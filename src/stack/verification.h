// What a verification covers: backups with what they need, and the archived logs.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "repository/verify.h"
#include "stack/config.h"

namespace holdfast::stack {

struct VerificationOptions {
  std::vector<std::string> backups;  // ids, prefixes, "latest"; none: the latest of each component
  bool all = false;                  // every backup and every log object
  bool quick = false;                // only that every object is there
  int workers = 2;
};

struct Verification {
  std::vector<std::string> backups;  // ids
  repository::VerifyReport report;
};

// Damage is data. kRefused where the credential can only write and the content must be read;
// kNotFound for a backup that is not there. A whole verification is kept in the repository as
// evidence.
Verification verify_backups(const repository::Repository& repository,
                            const VerificationOptions& options, base::Progress& progress,
                            std::stop_token stop);

// What a repository that does not even open (kDamaged) has to show: its damaged key slots, or
// `format`.
std::vector<repository::Damage> damage_at_opening(const RepositoryConfig& config,
                                                  const base::Error& error,
                                                  const base::Clock& clock, crypto::Random& random);

}  // namespace holdfast::stack
