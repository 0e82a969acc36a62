#include "storage/s3/read_ahead.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "base/error.h"
#include "storage/contents.h"

namespace holdfast::storage::s3 {
namespace {

constexpr std::size_t kObjectBytes = 10'000;
constexpr ReadAheadLimits kLimits{.block_bytes = 1000, .blocks = 8, .threads = 2, .gap_bytes = 100};

// Objects of 10,000 bytes, but for "none"; counts what is asked for.
class Source {
 public:
  std::optional<Piece> read(const std::string& name, std::uint64_t offset,
                            base::MutableByteView buffer) {
    {
      auto requests = requests_.lock();
      requests->emplace_back(offset, buffer.size());
    }
    if (name == "none") return std::nullopt;
    if (name == "broken") throw base::Error(base::ErrorKind::kUnavailable, "broken");
    const base::Bytes content = content_of(name);
    if (offset >= content.size()) return Piece{};
    const std::size_t count = std::min<std::size_t>(buffer.size(), content.size() - offset);
    std::copy_n(content.begin() + static_cast<std::ptrdiff_t>(offset), count, buffer.begin());
    return Piece{count, content.size()};
  }
  static base::Bytes content_of(const std::string& name) {
    return make_content(kObjectBytes, name.front());
  }
  std::vector<std::pair<std::uint64_t, std::size_t>> requests() { return *requests_.lock(); }

 private:
  base::Guarded<std::vector<std::pair<std::uint64_t, std::size_t>>> requests_;
};

class ReadAheadTest : public testing::Test {
 protected:
  base::Bytes read(const std::string& name, std::uint64_t offset, std::size_t size) {
    base::Bytes buffer(size);
    const auto count = ahead_.read(name, offset, buffer);
    if (!count) return {};
    buffer.resize(*count);
    return buffer;
  }
  static base::Bytes expected(const std::string& name, std::size_t offset, std::size_t size) {
    const base::Bytes content = Source::content_of(name);
    const std::size_t begin = std::min(offset, content.size());
    const std::size_t end = std::min(begin + size, content.size());
    return {content.begin() + static_cast<std::ptrdiff_t>(begin),
            content.begin() + static_cast<std::ptrdiff_t>(end)};
  }

  Source source_;
  ReadAhead ahead_{
      [this](const std::string& name, std::uint64_t offset, base::MutableByteView buffer) {
        return source_.read(name, offset, buffer);
      },
      kLimits};
};

TEST_F(ReadAheadTest, GivesWhatStandsThere) {
  for (const auto& [offset, size] : std::vector<std::pair<std::size_t, std::size_t>>{{0, 10},
                                                                                     {0, 10'000},
                                                                                     {950, 200},
                                                                                     {999, 1},
                                                                                     {1000, 3000},
                                                                                     {9'990, 500},
                                                                                     {10'000, 500},
                                                                                     {20'000, 500},
                                                                                     {3, 50}}) {
    EXPECT_EQ(read("a", offset, size), expected("a", offset, size)) << offset << "+" << size;
  }
}

TEST_F(ReadAheadTest, AsksOnceForABlockAndNeverBehindTheEnd) {
  for (std::size_t offset = 0; offset < kObjectBytes; offset += 200) {
    EXPECT_EQ(read("a", offset, 200), expected("a", offset, 200));
  }
  std::multiset<std::uint64_t> blocks;
  for (const auto& [offset, size] : source_.requests()) {
    if (size == kLimits.block_bytes) blocks.insert(offset);
  }
  for (std::uint64_t offset = 0; offset < kObjectBytes; offset += 1000) {
    EXPECT_EQ(blocks.count(offset), 1u) << offset;
  }
  EXPECT_EQ(source_.requests().size(), 11u);  // the first piece, then ten blocks
}

TEST_F(ReadAheadTest, FetchesAloneWhatIsReadHereAndThere) {
  std::vector<std::pair<std::uint64_t, std::size_t>> asked;
  for (const std::size_t offset : {5000u, 200u, 8000u, 3000u}) {
    EXPECT_EQ(read("a", offset, 300), expected("a", offset, 300));
    asked.emplace_back(offset, 300);
  }
  EXPECT_EQ(source_.requests(), asked);
  EXPECT_EQ(read("a", 6000, 300), expected("a", 6000, 300));
  EXPECT_EQ(source_.requests().back(), std::pair(std::uint64_t{6000}, kLimits.block_bytes))
      << "many pieces are worth their blocks";
}

TEST_F(ReadAheadTest, GivesUpBlocksOfWhichLittleIsUsed) {
  constexpr ReadAheadLimits kLarge{
      .block_bytes = 4'000'000, .blocks = 8, .threads = 1, .gap_bytes = 100};
  std::atomic<int> whole = 0;
  ReadAhead ahead(
      [&](const std::string&, std::uint64_t, base::MutableByteView buffer) {
        whole += buffer.size() == kLarge.block_bytes;
        return Piece{buffer.size(), 0};
      },
      kLarge);
  base::Bytes buffer(10);
  for (int i = 0; i < 100; ++i) {  // two pieces of each of many objects
    ahead.read(std::to_string(i), 0, buffer);
    ahead.read(std::to_string(i), 10, buffer);
  }
  EXPECT_LT(whole, 50);
  EXPECT_GT(whole, 5);
}

TEST_F(ReadAheadTest, SaysWhatIsNotThereAndKeepsNoFailure) {
  base::Bytes buffer(500);
  EXPECT_EQ(ahead_.read("none", 0, buffer), std::nullopt);
  EXPECT_THROW(ahead_.read("broken", 0, buffer), base::Error);
  EXPECT_THROW(ahead_.read("broken", 0, buffer), base::Error);
  EXPECT_EQ(source_.requests().size(), 3u);  // each time
}

TEST_F(ReadAheadTest, ForgetsWhatWasRemoved) {
  read("a", 0, 500);
  ahead_.forget("a");
  const std::size_t before = source_.requests().size();
  read("a", 0, 500);
  EXPECT_GT(source_.requests().size(), before);
}

TEST_F(ReadAheadTest, ServesManyThreads) {
  std::vector<std::jthread> threads;
  for (std::size_t t = 0; t < 6; ++t) {
    threads.emplace_back([this, t] {
      for (std::size_t i = 0; i < 500; ++i) {
        const std::string name(1, static_cast<char>('a' + (i * 7 + t) % 5));
        const std::size_t offset = (i * 331 + t * 97) % kObjectBytes;
        EXPECT_EQ(read(name, offset, 450), expected(name, offset, 450));
      }
    });
  }
}

}  // namespace
}  // namespace holdfast::storage::s3
