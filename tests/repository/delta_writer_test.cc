// What is stored as a difference comes back whole, and costs what has changed.
#include "repository/delta_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <random>
#include <string>

#include "fixture.h"
#include "repository/file_content.h"
#include "repository/pack_format.h"
#include "sample_backup.h"

namespace holdfast::repository {
namespace {

constexpr std::size_t kMiB = 1024 * 1024;

std::string text_of(const std::vector<std::string>& records) {
  std::string text;
  for (const std::string& record : records) text += record;
  return text;
}

class DeltaWriterTest : public testing::Test {
 protected:
  std::string record(std::size_t length) {
    std::string text(length, '\n');
    for (std::size_t i = 0; i + 1 < length; ++i)
      text[i] = static_cast<char>('0' + generator_() % 64);
    return text;
  }
  std::vector<std::string> records(std::size_t count, std::size_t length = 120) {
    std::vector<std::string> made;
    for (std::size_t i = 0; i < count; ++i)
      made.push_back(record(length / 2 + generator_() % length));
    return made;
  }

  // Stores the content as what follows `last_`, and reads it back.
  void store(std::string_view content) {
    StoreRun run(repository_.context());
    auto old = last_ ? std::make_unique<OldContent>(run.context, run.index, *last_) : nullptr;
    DeltaWriter writer(cutter_, *run.writer, std::move(old));
    for (std::size_t at = 0; at < content.size();) {
      const std::size_t length =
          std::min<std::size_t>(content.size() - at, 1 + generator_() % kMiB);
      writer.write(base::as_bytes(content.substr(at, length)));
      at += length;
    }
    FileEntry entry;
    entry.path = "dump";
    entry.extents = writer.finish();
    entry.size_bytes = content.size();
    extents_ = entry.extents;
    EXPECT_EQ(writer.size_bytes(), content.size());
    scatter_ = writer.scatter();
    store_extents(entry, *run.writer);
    run.finish();
    new_bytes_ = run.store.statistics().bytes_new;
    last_ = entry;
    ASSERT_TRUE(read_back(entry) == content) << "what came back is not what was written";
  }

  std::string read_back(const FileEntry& entry) {
    const Context context = repository_.context();
    const Index index = Index::load(context);
    ChunkReader reader(context, index);
    std::string back;
    read_content(entry, reader, [&](base::ByteView piece) { back += base::as_text(piece); });
    return back;
  }

  TestRepository repository_;
  ContentCutter cutter_{repository_.keyring.identity};
  std::mt19937 generator_{7};
  std::optional<FileEntry> last_;
  std::vector<Extent> extents_;
  Scatter scatter_;
  std::uint64_t new_bytes_ = 0;  // plain, with the extents
};

TEST_F(DeltaWriterTest, TheSameContentCostsNothing) {
  const std::string content = text_of(records(100'000));
  store(content);
  const std::vector<Extent> first = extents_;
  store(content);
  EXPECT_EQ(new_bytes_, 0u);
  EXPECT_EQ(extents_.size(), first.size());
  EXPECT_FALSE(scatter_.is_too_much());
}

TEST_F(DeltaWriterTest, ScatteredChangesCostWhatTheyHold) {
  std::vector<std::string> rows = records(100'000);
  store(text_of(rows));
  const std::size_t size = text_of(rows).size();
  for (std::size_t i = 50; i < rows.size(); i += 100) rows[i] = record(120);
  store(text_of(rows));
  EXPECT_LT(new_bytes_, size / 40);
  EXPECT_LE(extents_.size(), 2 * 1000 + 50u);
  EXPECT_FALSE(scatter_.is_too_much());
}

// As PostgreSQL does it: a changed row leaves its place, and stands at the end or in a hole.
TEST_F(DeltaWriterTest, ChangesOfManyDaysStayCheap) {
  std::vector<std::string> rows = records(60'000);
  store(text_of(rows));
  const std::uint64_t first = new_bytes_;
  std::uint64_t all = first;
  for (int day = 0; day < 9; ++day) {
    for (std::size_t n = 0; n < rows.size() / 100; ++n) {
      const std::size_t place = generator_() % rows.size();
      if (n % 2 == 0) {
        rows[place] = record(120);
      } else {
        rows.erase(rows.begin() + static_cast<std::ptrdiff_t>(place));
        rows.push_back(record(120));
      }
    }
    store(text_of(rows));
    all += new_bytes_;
    EXPECT_FALSE(scatter_.is_too_much()) << day;
  }
  // Plain extents are many times larger than compressed ones.
  EXPECT_LT(all, first * 5 / 2);
}

TEST_F(DeltaWriterTest, RandomChangesComeBack) {
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    generator_.seed(seed);
    last_.reset();
    std::vector<std::string> rows = records(1 + generator_() % 20'000, seed % 3 == 0 ? 6 : 150);
    store(text_of(rows));
    for (int round = 0; round < 3; ++round) {
      const auto place = [&] {
        return rows.begin() + static_cast<std::ptrdiff_t>(generator_() % (rows.size() + 1));
      };
      for (std::size_t n = generator_() % 200; n > 0; --n) {
        auto at = place();
        switch (generator_() % 5) {
          case 0:
            rows.insert(at, record(1 + generator_() % 300));
            break;
          case 1:
            if (at != rows.end()) rows.erase(at);
            break;
          case 2:
            if (at != rows.end()) *at = record(1 + generator_() % 300);
            break;
          case 3:
            if (at != rows.end()) rows.insert(place(), std::string(*at));
            break;
          default: {
            auto other = place();
            if (other < at) std::swap(at, other);
            if (other - at < 2000) std::rotate(at, at + (other - at) / 2, other);
          }
        }
      }
      ASSERT_NO_FATAL_FAILURE(store(text_of(rows))) << "seed " << seed << ", round " << round;
    }
  }
}

TEST_F(DeltaWriterTest, AMovedStretchIsFound) {
  std::vector<std::string> rows = records(150'000);
  store(text_of(rows));
  std::rotate(rows.begin() + 20'000, rows.begin() + 70'000, rows.begin() + 90'000);
  store(text_of(rows));
  EXPECT_LT(new_bytes_, 64 * 1024u);
}

// More than is looked at ahead.
TEST_F(DeltaWriterTest, FindsItsWayBehindMuchThatWasRemovedOrInserted) {
  const std::vector<std::string> first = records(20'000, 200);
  const std::vector<std::string> middle = records(200'000, 200);
  const std::vector<std::string> last = records(200'000, 200);
  const std::string long_text = text_of(first) + text_of(middle) + text_of(last);
  const std::string short_text = text_of(first) + text_of(last);
  ASSERT_GT(text_of(middle).size(), OldContent::kAhead + OldContent::kBehind);
  store(long_text);
  const FileEntry with_middle = *last_;
  store(short_text);
  EXPECT_LT(new_bytes_, 18 * kMiB);
  last_.reset();
  repository_.storage = storage::open_memory();
  store(short_text);
  store(long_text);
  EXPECT_LT(new_bytes_, text_of(middle).size() + 12 * kMiB);
}

TEST_F(DeltaWriterTest, WhatHasNoLinesComesBack) {
  base::Bytes bytes = random_bytes(9 * kMiB, 3);
  std::replace(bytes.begin(), bytes.end(), std::uint8_t{'\n'}, std::uint8_t{'x'});
  std::string content(base::as_text(bytes));
  store(content);
  for (std::size_t i = kMiB; i < content.size(); i += kMiB) content[i] ^= 1;  // in place
  store(content);
  EXPECT_LT(new_bytes_, 64 * 1024u);
  content.insert(4 * kMiB, "something");
  content.erase(7 * kMiB, 100);
  store(content);
  EXPECT_LT(new_bytes_, 64 * 1024u);
}

TEST_F(DeltaWriterTest, LongRecordsComeBack) {
  std::vector<std::string> rows = {record(100), record(10 * kMiB), record(100), record(10 * kMiB),
                                   record(3000)};
  store(text_of(rows));
  rows[1].insert(5 * kMiB, "inserted");
  rows.erase(rows.begin() + 2);
  store(text_of(rows));
  EXPECT_LT(new_bytes_, kMiB / 2);
}

TEST_F(DeltaWriterTest, EmptyZerosAndEqualRecords) {
  const std::string text = text_of(records(1000));
  const std::string zeros(20 * kMiB, '\0');
  std::string equal;
  for (int i = 0; i < 500'000; ++i) equal += "the same line again and again\n";
  for (const std::string& content :
       {std::string(), text, std::string(), zeros, zeros + text, text + zeros + text, equal,
        text + equal, equal.substr(90) + text, std::string("x"), std::string("\n"), text}) {
    ASSERT_NO_FATAL_FAILURE(store(content)) << content.size();
  }
}

// A run that has many extents already, cut again and again, joins what goes on in one chunk.
TEST_F(DeltaWriterTest, ExtentsThatGoOnAreJoined) {
  const std::vector<std::string> rows = records(50'000);
  store(text_of(rows));
  const FileEntry whole = *last_;
  const std::size_t extents = extents_.size();
  std::vector<std::string> changed = rows;
  for (std::size_t i = 50; i < rows.size(); i += 100) changed[i] = record(120);
  store(text_of(changed));
  last_ = whole;
  store(text_of(rows));
  EXPECT_EQ(extents_.size(), extents);
}

TEST_F(DeltaWriterTest, ADamagedOrLostPackDoesNoHarm) {
  std::vector<std::string> rows = records(300'000);
  store(text_of(rows));
  const FileEntry before = *last_;
  std::vector<std::string> packs;
  repository_.storage->list("packs/",
                            [&](const storage::ObjectInfo& info) { packs.push_back(info.name); });
  ASSERT_GT(packs.size(), 2u);
  rows[5] = record(100);
  {  // Its data changes: what is in it cannot be read, though the index has it.
    base::Bytes pack = *repository_.storage->get(packs[1], kMaxPackSize);
    for (std::size_t i = 200; i + 200'000 < pack.size(); ++i) pack[i] ^= 1;
    repository_.storage->remove(packs[1]);
    repository_.storage->put(packs[1], pack);
  }
  StoreRun run(repository_.context());
  DeltaWriter writer(cutter_, *run.writer,
                     std::make_unique<OldContent>(run.context, run.index, before));
  writer.write(base::as_bytes(text_of(rows)));
  EXPECT_NO_THROW(writer.finish());
  run.finish();
  // It is gone: nothing may refer to it.
  repository_.storage->remove(packs[1]);
  last_ = before;
  store(text_of(rows));
}

TEST_F(DeltaWriterTest, TellsWhenItIsScattered) {
  Scatter scatter{.bytes = 1'000'000, .extents = 100, .chunk_bytes = 1'400'000};
  EXPECT_FALSE(scatter.is_too_much());
  scatter.add({.bytes = 0, .extents = 0, .chunk_bytes = 200'000});
  EXPECT_TRUE(scatter.is_too_much());
  EXPECT_TRUE((Scatter{.bytes = 1'000'000, .extents = 4'000, .chunk_bytes = 0}).is_too_much());

  // Of a table of which one row in ten is left, most of each chunk is of no use.
  std::vector<std::string> rows = records(20'000);
  store(text_of(rows));
  std::vector<std::string> few;
  for (std::size_t i = 0; i < rows.size(); i += 100) {
    few.insert(few.end(), rows.begin() + static_cast<std::ptrdiff_t>(i),
               rows.begin() + static_cast<std::ptrdiff_t>(i + 10));
  }
  store(text_of(few));
  EXPECT_TRUE(scatter_.is_too_much());
}

}  // namespace
}  // namespace holdfast::repository
