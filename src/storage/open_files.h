// The files that were read last, kept open: a restore reads one pack in many pieces. Internal to
// the directory driver.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/concurrency.h"
#include "base/file.h"

namespace holdfast::storage {

// Thread-safe. Holds at most kCapacity descriptors, besides those in use.
class OpenFiles {
 public:
  using File = std::shared_ptr<const base::UniqueFd>;
  static constexpr std::size_t kCapacity = 32;

  // Null if the file is not held.
  File find(std::string_view name) {
    auto files = files_.lock();
    const auto at = position(*files, name);
    if (at == files->end()) return nullptr;
    std::rotate(files->begin(), at, at + 1);  // the last used goes first
    return files->front().second;
  }

  void keep(std::string_view name, File file) {
    auto files = files_.lock();
    const auto at = position(*files, name);
    if (at != files->end()) {
      at->second = std::move(file);
      return;
    }
    if (files->size() == kCapacity) files->pop_back();
    files->emplace(files->begin(), name, std::move(file));
  }

  void forget(std::string_view name) {
    auto files = files_.lock();
    const auto at = position(*files, name);
    if (at != files->end()) files->erase(at);
  }

 private:
  using Files = std::vector<std::pair<std::string, File>>;
  static Files::iterator position(Files& files, std::string_view name) {
    return std::find_if(files.begin(), files.end(),
                        [name](const auto& entry) { return entry.first == name; });
  }

  base::Guarded<Files> files_;
};

}  // namespace holdfast::storage
