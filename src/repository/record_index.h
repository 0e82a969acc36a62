// Finds records (lines, as a rule) of one text in another.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"

namespace holdfast::repository {

// The first place behind `from` at which a record begins: after a line's end; where no line ends
// for 4 KiB, at a place that depends on the bytes there. content.size() if there is none.
std::size_t next_record(base::ByteView content, std::size_t from);

// The bytes by which a record is found: up to the first line's end behind its first 31 bytes, 256
// at most. Fewer than kLeastKey at the end of the content: too few to find it by.
inline constexpr std::size_t kLeastKey = 32;
inline constexpr std::size_t kMostKey = 256;
base::ByteView key_at(base::ByteView content, std::size_t place);
std::uint64_t hash_of(base::ByteView key);

// Where the records of a text stand, the last million of them; of those before only a sample.
// Memory: 20 MiB and the sample's 15 MiB at most. What it finds must be compared.
class RecordIndex {
 public:
  // Adds what it has not seen yet of a stretch of the text that begins at `begin`: from `low` on,
  // or from where it last ended. Records less than 64 bytes behind another are left out.
  void extend(base::ByteView stretch, std::uint64_t begin, std::uint64_t low, bool to_the_end);
  // Forgets all but the sample: the next stretch may be another.
  void restart();

  // Places of at least `low`; those at and behind `expected` come first, the nearest ones of each
  // side first. Of very many equal records some are looked at.
  void find(std::uint64_t hash, std::uint64_t low, std::uint64_t expected,
            std::vector<std::uint64_t>& places) const;

  // One record in 512 is in the sample.
  static bool is_sampled(std::uint64_t hash) { return (hash >> 21) % 512 == 0; }
  // Where it was seen last; null if it was not.
  const std::uint64_t* sampled(std::uint64_t hash) const;

 private:
  struct Entry {
    std::uint64_t place = 0;
    std::uint32_t before = 0;  // the number of the last one whose hash begins alike; 0: none
    std::uint32_t check = 0;
  };
  void add(std::uint64_t hash, std::uint64_t place);

  std::vector<Entry> entries_;  // a ring: entry n stands at n % size
  std::vector<std::uint32_t> heads_;
  std::uint32_t last_ = 0;  // the number of the newest entry
  std::uint64_t next_ = 0;  // the place to go on at
  std::unordered_map<std::uint64_t, std::uint64_t> sample_;
};

}  // namespace holdfast::repository
