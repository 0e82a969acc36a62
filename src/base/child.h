// A program that was started: what run_process and PipedProcess have in common. Others use those,
// or this for a program that goes on beside us.
#pragma once

#include "base/file.h"
#include "base/process.h"

namespace holdfast::base {

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};
Pipe make_pipe();

// In a process group of its own, with nothing open of ours but its three ends. The destructor kills
// it with its whole group and reaps it.
class Child {
 public:
  // Descriptors; -1: /dev/null.
  struct Ends {
    int in = -1;
    int out = -1;
    int err = -1;
  };

  // Throws if the program could not be started.
  Child(const ProcessOptions& options, const Ends& ends);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  int ended_fd() const { return ended_.get(); }  // readable once it ended
  void signal_group(int number);
  int reap();  // waits; the exit status, or 128 + signal

 private:
  pid_t pid_ = -1;
  UniqueFd ended_;
  bool reaped_ = false;
};

}  // namespace holdfast::base
