// What lets `wal push` start at once where the repository is opened by a passphrase. scrypt is slow
// on purpose, and a server archives a segment a second: so the write-only half of the keyring,
// which cannot read a backup, is kept for the next call in a file of the user's own (0600, in a
// directory 0700) that lives in memory: in $XDG_RUNTIME_DIR or /dev/shm. It is gone after a restart
// of the machine.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "repository/repository.h"
#include "stack/config.h"

namespace holdfast::stack {

// The memory-backed directory of this user's own, for what calls leave to the next ones. Nullopt
// where there is none.
std::optional<std::filesystem::path> private_directory();

// Good for writing; whether it can read depends on what opened it. As open_repository() where the
// configuration names a key file, or where nothing usable is kept.
std::unique_ptr<repository::Repository> open_repository_for_archiving(
    const RepositoryConfig& config, const base::Clock& clock, crypto::Random& random);

}  // namespace holdfast::stack
