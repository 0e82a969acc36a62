// Checks the checksums of pages as they are read from a running cluster.
#pragma once

#include <string>
#include <vector>

#include "base/concurrency.h"
#include "postgres/cluster_files.h"

namespace holdfast::postgres {

struct BadPage {
  std::string path;
  std::uint32_t block = 0;  // in the relation fork
};

// One for each thread. A page whose checksum is wrong is read again, since the server may be
// writing it; one that stays wrong goes to `bad_pages`. Does nothing in a cluster without
// checksums.
class PageVerifier {
 public:
  PageVerifier(const ClusterInfo& cluster, base::Guarded<std::vector<BadPage>>& bad_pages)
      : cluster_(cluster), bad_pages_(bad_pages) {}

  // `pages` were read from `fd`, which is `file`, at `offset`.
  void verify(const ClusterFile& file, int fd, std::uint64_t offset, base::MutableByteView pages);

 private:
  bool becomes_good(const ClusterFile& file, int fd, std::uint64_t offset,
                    base::MutableByteView page, std::uint32_t block) const;

  const ClusterInfo& cluster_;
  base::Guarded<std::vector<BadPage>>& bad_pages_;
  std::vector<std::uint32_t> suspects_;
};

}  // namespace holdfast::postgres
