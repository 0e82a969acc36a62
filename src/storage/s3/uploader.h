// Creates objects that must not overwrite anything, whole or not at all, small or large. Internal
// to the S3 driver.
#pragma once

#include <optional>
#include <string>

#include "storage/s3/abilities.h"
#include "storage/storage.h"

namespace holdfast::storage::s3 {

// Thread-safe. Every object carries a token in its metadata: one that is found to exist already and
// carries ours was put by an attempt whose answer was lost.
class Uploader {
 public:
  // `claims_folder`: the key below which claims stand. All that is given outlives it.
  Uploader(Client& client, Abilities& abilities, const Options& options, std::string claims_folder,
           const base::Clock& clock, crypto::Random& random);

  // `key`: with the prefix.
  PutResult put(const std::string& key, base::ByteView content, Use use);

  // Until when an object is locked that is put now; nullopt: it is not.
  std::optional<base::Time> locked_until(Use use) const;

  void abort(const std::string& key, const std::string& upload);

 private:
  struct Task;
  Headers headers_of(const Task& task) const;
  bool exists(const std::string& key);
  PutResult put_whole(const Task& task);
  std::optional<PutResult> settle_existing(const Task& task);
  PutResult put_in_parts(const Task& task);
  std::string put_part(const Task& task, const std::string& upload, std::size_t number);
  PutResult complete(const Task& task, const std::string& upload, const std::string& parts);

  Client& client_;
  Abilities& abilities_;
  const Options& options_;
  const std::string claims_folder_;
  const base::Clock& clock_;
  crypto::Random& random_;
};

}  // namespace holdfast::storage::s3
