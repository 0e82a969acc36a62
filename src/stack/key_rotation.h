// A new secret in place of the one that a repository is opened with.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "repository/repository.h"

namespace holdfast::stack {

struct RotatedKey {
  std::vector<repository::SlotId> added;    // in the order of the repositories
  std::vector<repository::SlotId> removed;  // the same
  std::string old_key_file;                 // where the old secret is kept; empty for a passphrase
  bool finished_earlier = false;            // an earlier rotation had been interrupted
};

// Gives `key_file` a new secret, for every repository that it opens. At each step the file that
// stands under the name opens them all, and a run that was interrupted is carried on by the next
// one:
//   1. FILE.new is written   2. a slot for it is added, and tried   3. the two files change places
//   4. the old slot goes     5. FILE.new, the old secret by now, becomes FILE.old-YYYYMMDDThhmmssZ
// kRefused where a credential can only write, or stands for no slot.
RotatedKey rotate_key_file(const std::vector<std::unique_ptr<repository::Repository>>& repositories,
                           const std::string& key_file);

// The same for a repository that is opened by a passphrase. The configuration must be changed
// after.
RotatedKey rotate_passphrase(const repository::Repository& repository,
                             const repository::Credential& next);

}  // namespace holdfast::stack
