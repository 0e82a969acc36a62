// The operations of a storage, for the decorators that count and record them.
#pragma once

#include <string_view>

namespace holdfast::storage {

enum class Operation { kPut, kGet, kRead, kStat, kList, kRemove };

inline std::string_view name_of(Operation operation) {
  switch (operation) {
    case Operation::kPut:
      return "put";
    case Operation::kGet:
      return "get";
    case Operation::kRead:
      return "read";
    case Operation::kStat:
      return "stat";
    case Operation::kList:
      return "list";
    case Operation::kRemove:
      return "remove";
  }
  return "unknown";
}

}  // namespace holdfast::storage
