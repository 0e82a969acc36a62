// A directory for what is made and removed again.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

#include "base/file.h"

namespace holdfast::postgres {

// Of one run, and removed with it. What a run that was killed has left goes with the next one: each
// holds a lock on a file in its own.
class ScratchDirectory {
 public:
  // PARENT/PREFIXxxxxxx, 0700, after removing those with this prefix that nobody holds.
  ScratchDirectory(const std::filesystem::path& parent, const std::string& prefix);
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // Lets that user in, where this is root.
  void give_to(uid_t user) const;

 private:
  std::filesystem::path path_;
  base::UniqueFd lock_;
};

}  // namespace holdfast::postgres
