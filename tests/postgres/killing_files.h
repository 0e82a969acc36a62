// Kills its own process (SIGKILL) right before the n-th change to files: the calls that make such
// changes are this program's own, in front of the C library's. For use in a child process.
#pragma once

#include <cstdint>

namespace holdfast::postgres {

// 0: never; only counts.
void kill_before_change(std::uint64_t n);
// Since that call.
std::uint64_t changes_so_far();

}  // namespace holdfast::postgres
