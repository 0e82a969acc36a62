#include <fmt/format.h>

#include "storage/s3/s3.h"
#include "storage/s3/signature.h"

namespace holdfast::storage::s3 {

std::string encoded_tags(const std::vector<std::pair<std::string, std::string>>& tags) {
  std::string text;
  for (const auto& [name, value] : tags) {
    text += fmt::format("{}{}={}", text.empty() ? "" : "&", url_encoded(name, false),
                        url_encoded(value, false));
  }
  return text;
}

}  // namespace holdfast::storage::s3
