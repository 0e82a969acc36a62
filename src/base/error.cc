#include "base/error.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace holdfast::base {
namespace {

// Exit statuses are those of the public contract: 1 failed, 2 usage or configuration, 4 nothing
// found, 5 damage, 6 locked (0 and 3 are successes).
constexpr std::array<ErrorKindInfo, 13> kKinds{{
    {ErrorKind::kFailed, "failed", 1, false},
    {ErrorKind::kUsage, "usage", 2, false},
    {ErrorKind::kConfig, "config", 2, false},
    {ErrorKind::kNotFound, "not_found", 4, false},
    {ErrorKind::kDamaged, "damaged", 5, false},
    {ErrorKind::kLocked, "locked", 6, true},
    {ErrorKind::kRefused, "refused", 1, false},
    {ErrorKind::kKey, "key", 1, false},
    {ErrorKind::kPermission, "permission", 1, false},
    {ErrorKind::kNoSpace, "no_space", 1, false},
    {ErrorKind::kUnavailable, "unavailable", 1, true},
    {ErrorKind::kTimeout, "timeout", 1, true},
    {ErrorKind::kInterrupted, "interrupted", 1, false},
}};

constexpr bool table_is_in_order() {
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    if (static_cast<std::size_t>(kKinds[i].kind) != i) return false;
  }
  return kKinds.back().kind == ErrorKind::kInterrupted;
}
static_assert(table_is_in_order(), "one row a kind, in the order of the enumeration");

ErrorKind kind_of_errno(int value) {
  switch (value) {
    case ENOSPC:
    case EDQUOT:
      return ErrorKind::kNoSpace;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorKind::kPermission;
    case EINTR:
      return ErrorKind::kInterrupted;
    case ETIMEDOUT:
      return ErrorKind::kTimeout;
    default:
      return ErrorKind::kFailed;
  }
}

}  // namespace

const ErrorKindInfo& info(ErrorKind kind) { return kKinds.at(static_cast<std::size_t>(kind)); }

Error::Error(ErrorKind kind, std::string message, std::string hint)
    : kind_(kind), text_(std::move(message)), hint_(std::move(hint)) {}

Error system_error(int errno_value, std::string_view what_failed) {
  Error error(kind_of_errno(errno_value),
              fmt::format("{}: {}", what_failed, std::generic_category().message(errno_value)));
  error.set_errno(errno_value);
  return error;
}

}  // namespace holdfast::base
