// Work that goes on after this process has ended.
#pragma once

#include <functional>

namespace holdfast::base {

// Runs `body` in a process of its own and returns at once; whether it could be started is not told,
// so it is for work that nobody depends on. The process has its own session, the signals' default
// actions, and nothing open of whoever called this program: a caller that waits for the end of our
// output does not wait for it. What `body` throws ends the process quietly.
//
// The process is a copy of this one with the calling thread alone: no other thread may be in the
// middle of anything that `body` uses.
void run_detached(const std::function<void()>& body);

}  // namespace holdfast::base
