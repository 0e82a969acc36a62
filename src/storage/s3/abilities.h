// What a store was found to be able to do. Internal to the S3 driver.
#pragma once

#include <atomic>
#include <string>

#include "base/concurrency.h"
#include "storage/s3/checksum.h"
#include "storage/s3/client.h"

namespace holdfast::storage::s3 {

// What `If-None-Match: *` does at this store.
enum class Conditional {
  kUnknown,
  kHonoured,  // a PUT that would overwrite is refused
  kIgnored,   // it overwrites
  kRefused,   // the header is an error
};

// Thread-safe. What was found is noted in the metadata of each object that is put, together with
// the store's name, and read off again from any object: so a process that reads one before it
// writes need not try the store anew.
class Abilities {
 public:
  // `probe_key`: an object that is put, and never removed, to see whether it is overwritten.
  Abilities(Client& client, std::string probe_key);

  // Tries the store where it is not known yet.
  Conditional conditional();
  // Whether `If-None-Match` lets one of several win that create an object at the same moment. Ceph
  // (seen with 20.2) lets them all where the bucket keeps versions; Amazon documents that it does
  // not: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html.
  bool one_of_many_wins();
  ChecksumKind checksum() const { return checksum_; }

  void learn(const HttpAnswer& answer);
  // The header that notes what was found.
  void describe(Headers& headers) const;

  // Sends a PUT or a POST with a checksum of its body, of the kind that the store takes.
  Answer put(Request request, const Checksum& checksum, const Client::Accepts& accepts);
  // A GET that asks for the checksum that was stored with the object. Accepts a 404.
  Answer get(Request request);

 private:
  Conditional probe();
  std::string note() const;

  Client& client_;
  const std::string probe_key_;
  std::atomic<Conditional> conditional_ = Conditional::kUnknown;
  std::atomic<bool> keeps_versions_ = false;
  std::atomic<ChecksumKind> checksum_ = ChecksumKind::kSha256;
  base::Guarded<int> probing_;  // one at a time
};

}  // namespace holdfast::storage::s3
