#include "postgres/killing_files.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>

namespace holdfast::postgres {
namespace {

// The C library's signatures leave no other place for it.
struct State {
  std::atomic<std::uint64_t> changes{0};
  std::atomic<std::uint64_t> deadly{0};
};

State& state() {
  static State instance;
  return instance;
}

void count_change() {
  if (++state().changes == state().deadly) ::kill(::getpid(), SIGKILL);
}

template <typename Function>
Function* original(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

void kill_before_change(std::uint64_t n) {
  state().changes = 0;
  state().deadly = n;
}

std::uint64_t changes_so_far() { return state().changes; }

}  // namespace holdfast::postgres

#define HOLDFAST_COUNTED(type, name, parameters, arguments)                         \
  extern "C" type name parameters {                                                 \
    static auto* const real = holdfast::postgres::original<type parameters>(#name); \
    holdfast::postgres::count_change();                                             \
    return real arguments;                                                          \
  }

HOLDFAST_COUNTED(ssize_t, pwrite, (int fd, const void* data, size_t size, off_t at),
                 (fd, data, size, at))
HOLDFAST_COUNTED(int, ftruncate, (int fd, off_t size) noexcept, (fd, size))
HOLDFAST_COUNTED(int, unlink, (const char* path) noexcept, (path))
HOLDFAST_COUNTED(int, remove, (const char* path) noexcept, (path))
HOLDFAST_COUNTED(int, rmdir, (const char* path) noexcept, (path))
HOLDFAST_COUNTED(int, rename, (const char* from, const char* to) noexcept, (from, to))
HOLDFAST_COUNTED(int, mkdir, (const char* path, mode_t mode) noexcept, (path, mode))
HOLDFAST_COUNTED(int, symlink, (const char* target, const char* path) noexcept, (target, path))
HOLDFAST_COUNTED(int, chmod, (const char* path, mode_t mode) noexcept, (path, mode))
HOLDFAST_COUNTED(int, fchmod, (int fd, mode_t mode) noexcept, (fd, mode))
HOLDFAST_COUNTED(int, fsync, (int fd), (fd))
HOLDFAST_COUNTED(int, syncfs, (int fd) noexcept, (fd))

// With O_CREAT alone it changes anything.
extern "C" int open(const char* path, int flags, ...) {
  using Open = int(const char*, int, ...);
  static auto* const real = holdfast::postgres::original<Open>("open");
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
    holdfast::postgres::count_change();
  }
  return real(path, flags, mode);
}
