// A configuration written for one test, and what loading it says.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "base/error.h"
#include "stack/config.h"
#include "storage/temporary_directory.h"

namespace holdfast::stack {

class ConfigFile {
 public:
  explicit ConfigFile(std::string_view text) { std::ofstream(path(), std::ios::binary) << text; }

  std::filesystem::path path() const { return directory_.path() / "holdfast.yaml"; }
  std::filesystem::path directory() const { return directory_.path(); }
  Config load() const { return load_config(path()); }

  // The message of the error, without the file's path; then " | " and the hint. Empty: it loaded.
  std::string problem() const {
    try {
      load();
      return {};
    } catch (const base::Error& error) {
      if (error.kind() != base::ErrorKind::kConfig)
        return std::string("not kConfig: ") + error.what();
      std::string text = error.what();
      if (const auto at = text.find(path().string()); at != std::string::npos) {
        text.erase(at, path().string().size() + 1);
      }
      return text + " | " + error.hint();
    }
  }

 private:
  storage::TemporaryDirectory directory_;
};

}  // namespace holdfast::stack
