// Everything that a backup needs of its repository, tried one after the other.
#pragma once

#include <memory>
#include <optional>

#include "base/error.h"
#include "repository/repository.h"
#include "stack/component.h"
#include "stack/config.h"

namespace holdfast::stack {

struct RepositoryCheck {
  std::unique_ptr<repository::Repository> repository;  // null where it could not be opened
  std::optional<base::ErrorKind> failure;              // of the first bad finding that has one
};

// Key, format, lock, records, space, clock. Reports what it finds and throws nothing.
RepositoryCheck check_repository(const RepositoryConfig& config, const base::Clock& clock,
                                 crypto::Random& random, const Findings& report);

}  // namespace holdfast::stack
