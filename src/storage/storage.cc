#include "storage/storage.h"

namespace holdfast::storage {

void Storage::remove_all(std::span<const std::string> names) {
  for (const std::string& name : names) remove(name);
}

}  // namespace holdfast::storage
