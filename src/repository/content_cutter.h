// Cuts content into chunks at places that depend on the bytes just before them, so that what moves
// by an insertion, or stands in another file, is cut alike.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "crypto/secret.h"

namespace holdfast::repository {

// FastCDC with normalised chunking: Xia et al., "FastCDC: a Fast and Efficient Content-Defined
// Chunking Approach for Data Deduplication", USENIX ATC 2016. The table of the rolling hash comes
// from the identity key: lengths of chunks tell nobody which known file they are of. Unchangeable,
// and so thread-safe.
class ContentCutter {
 public:
  static constexpr std::size_t kLeast = 192 * 1024;
  static constexpr std::size_t kUsual = 512 * 1024;
  static constexpr std::size_t kMost = 2 * 1024 * 1024;

  explicit ContentCutter(const crypto::IdentityKey& identity);

  // The length of the first chunk of `content`, which holds at least kMost bytes or goes to the
  // end of what is to be cut; 0 where it is empty.
  std::size_t first_chunk(base::ByteView content) const;

 private:
  std::array<std::uint64_t, 256> gear_;
};

}  // namespace holdfast::repository
