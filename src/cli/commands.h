// The table of commands, from which parsing, help and completion follow, and the commands
// themselves: each returns its exit status, or throws.
#pragma once

#include "cli/arguments.h"

namespace holdfast::cli {

const Language& language();

// Exit statuses that are no error's.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kAttention = 3;
inline constexpr int kDamaged = 5;

int run_init(Session& session);
int run_check(Session& session);
int run_setup(Session& session);
int run_copy(Session& session);
int run_backup(Session& session);
int run_dump(Session& session);
int run_list(Session& session);
int run_show(Session& session);
int run_cat(Session& session);
int run_diff(Session& session);
int run_restore(Session& session);
int run_wal_push(Session& session);
int run_wal_fetch(Session& session);
int run_wal_list(Session& session);
int run_verify(Session& session);
int run_prune(Session& session);
int run_key_list(Session& session);
int run_key_add(Session& session);
int run_key_remove(Session& session);
int run_key_rotate(Session& session);
int run_key_export(Session& session);
int run_completion(Session& session);
int run_version(Session& session);
int run_help(Session& session);

}  // namespace holdfast::cli
