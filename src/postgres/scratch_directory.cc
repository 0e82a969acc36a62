#include "postgres/scratch_directory.h"

#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <system_error>
#include <thread>

#include "base/error.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLock = "lock";

// The lock of a directory that somebody left, if it is ours to remove: in a directory where all may
// write (/var/tmp) anybody can make one of that name.
base::UniqueFd lock_of_left_over(const fs::path& directory) {
  base::UniqueFd fd(::open((directory / kLock).c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode) ||
      status.st_uid != ::geteuid() || status.st_nlink != 1) {
    return {};
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return {};
  return fd;
}

void remove_left_overs(const fs::path& parent, const std::string& prefix) {
  std::error_code problem;
  for (fs::directory_iterator at(parent, problem), end; !problem && at != end;
       at.increment(problem)) {
    const fs::path directory = at->path();
    struct stat status {};
    if (!directory.filename().string().starts_with(prefix) ||
        ::lstat(directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
      continue;
    }
    std::error_code next_time;
    if (lock_of_left_over(directory)) fs::remove_all(directory, next_time);
  }
}

}  // namespace

ScratchDirectory::ScratchDirectory(const fs::path& parent, const std::string& prefix) {
  fs::create_directories(parent);
  remove_left_overs(parent, prefix);
  std::string name = (fs::canonical(parent) / (prefix + "XXXXXX")).string();
  if (::mkdtemp(name.data()) == nullptr) {
    throw base::system_error(errno, fmt::format("cannot make a directory in {}", parent.string()));
  }
  path_ = name;
  // Under its name only once it is held: another run may look at any moment.
  const fs::path unfinished = path_ / "lock.new";
  lock_ = base::open_file(unfinished, O_RDWR | O_CREAT | O_EXCL);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    throw base::system_error(errno, fmt::format("cannot lock {}", unfinished.string()));
  }
  fs::rename(unfinished, path_ / kLock);
}

// Processes of a server that was killed may still write there while they end. What stays all the
// same, the next run removes.
ScratchDirectory::~ScratchDirectory() {
  constexpr std::chrono::milliseconds kAskAgain{50};
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  std::error_code problem;
  do {
    fs::remove_all(path_, problem);
    const bool is_in_motion = problem == std::errc::directory_not_empty ||
                              problem == std::errc::no_such_file_or_directory;
    if (!is_in_motion) return;
    std::this_thread::sleep_for(kAskAgain);
  } while (std::chrono::steady_clock::now() < deadline);
}

void ScratchDirectory::give_to(uid_t user) const {
  if (::geteuid() != 0) return;
  if (::chown(path_.c_str(), user, static_cast<gid_t>(-1)) != 0) {
    throw base::system_error(errno, fmt::format("cannot give {} its owner", path_.string()));
  }
}

}  // namespace holdfast::postgres
