#include "postgres/client_environment.h"

#include <unistd.h>

#include <string_view>

namespace holdfast::postgres {
namespace {

// All of libpq's begin so, those of versions to come too; what has an underscore is somebody
// else's, but for one.
bool is_of_libpq(std::string_view entry) {
  const std::string_view name = entry.substr(0, entry.find('='));
  return name.starts_with("PG") &&
         (name.find('_') == std::string_view::npos || name == "PGCONNECT_TIMEOUT");
}

}  // namespace

WithoutClientEnvironment::WithoutClientEnvironment() : before_(environ) {
  for (char** entry = before_; *entry != nullptr; ++entry) {
    if (is_of_libpq(*entry)) {
      taken_.emplace_back(*entry);
    } else {
      kept_.push_back(*entry);
    }
  }
  kept_.push_back(nullptr);
  environ = kept_.data();
}

WithoutClientEnvironment::~WithoutClientEnvironment() { environ = before_; }

}  // namespace holdfast::postgres
