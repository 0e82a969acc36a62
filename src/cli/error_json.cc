#include "cli/error_json.h"

#include <nlohmann/json.hpp>

namespace holdfast::cli {

nlohmann::json error_json(const base::Error& error) {
  return {
      {"code", base::info(error.kind()).code}, {"message", error.what()}, {"hint", error.hint()}};
}

}  // namespace holdfast::cli
