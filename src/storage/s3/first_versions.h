// A bucket as it was before anything in it was overwritten or deleted: of every key the oldest
// version. Names are written once here, so that is the true content, whatever someone with the
// store's credentials did later. Internal to the S3 driver.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/concurrency.h"
#include "storage/s3/client.h"

namespace holdfast::storage::s3 {

// Thread-safe.
class FirstVersions {
 public:
  FirstVersions(Client& client, std::string prefix) : client_(client), prefix_(std::move(prefix)) {}

  // Sorted by key.
  std::vector<ObjectInfo> list(const std::string& keys);
  // The version's id; nullopt where there is none.
  std::optional<std::string> find(const std::string& key);

 private:
  struct First {
    ObjectInfo info;
    std::string version;
  };
  std::map<std::string, First> read(const std::string& keys);

  Client& client_;
  const std::string prefix_;
  base::Guarded<std::optional<std::map<std::string, First>>> all_;  // read at the first need
};

}  // namespace holdfast::storage::s3
