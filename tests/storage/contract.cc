#include "storage/contract.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <thread>
#include <vector>

#include "base/error.h"
#include "storage/contents.h"
#include "storage/damage.h"

namespace holdfast::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t kAnySize = std::numeric_limits<std::uint64_t>::max();
constexpr std::size_t kMiB = 1024 * 1024;

// The kind of the Error that `body` throws; kInterrupted, which no storage throws, if it does not.
template <typename Body>
base::ErrorKind kind_thrown_by(Body body) {
  try {
    body();
  } catch (const base::Error& error) {
    return error.kind();
  }
  return base::ErrorKind::kInterrupted;
}

// Runs `body(i)` in `count` threads that start together.
template <typename Body>
void in_threads(std::size_t count, Body body) {
  std::atomic<std::size_t> waiting = count;
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      --waiting;
      while (waiting > 0) std::this_thread::yield();
      body(i);
    });
  }
}

std::vector<std::string> hostile_names() {
  using namespace std::string_literals;
  return {"",
          "/",
          "/etc",
          "/etc/passwd",
          "a/",
          "a//b",
          ".",
          "..",
          "../x",
          "a/..",
          "a/../b",
          "a/./b",
          "./a",
          "a\0b"s,
          "a\0/../b"s,
          "a b",
          "a\nb",
          "a\\b",
          "a:b",
          "a*",
          "~",
          "\xc3\xa9",
          "tmp",
          "tmp/a",
          std::string(300, 'a'),
          "a/" + std::string(256, 'a'),
          "a/" + std::string(300, 'a') + "/b",
          [] {
            std::string name = "a";
            while (name.size() < 1000) name += "/a";
            return name;
          }()};
}

TEST_P(StorageContract, GivesBackWhatWasPut) {
  for (const std::size_t size : {0u, 1u, 4095u, 4096u, 4097u, 70'000u}) {
    const std::string name = "packs/aa/" + std::to_string(size);
    const base::Bytes content = make_content(size, size);
    EXPECT_EQ(storage_->put(name, content), PutResult::kCreated);
    EXPECT_EQ(storage_->get(name, size), content) << size;
    EXPECT_EQ(storage_->stat(name)->size_bytes, size);
  }
}

TEST_P(StorageContract, TakesLargeContentsWhereverTheyBegin) {
  constexpr std::size_t kSize = 40 * kMiB + 123;
  base::AlignedBuffer buffer(kSize + 4096);
  fill_content(buffer.span(), 7);
  const base::ByteView all = buffer.span();
  const std::vector<std::pair<std::string, base::ByteView>> objects = {
      {"aligned_whole_blocks", all.first(40 * kMiB)},
      {"aligned_with_a_tail", all.first(kSize)},
      {"aligned_with_a_long_tail", all.first(kMiB + 4095)},
      {"unaligned", all.subspan(1, kSize)},
      {"aligned_to_a_sector", all.subspan(512, 8 * kMiB)},
  };
  for (const auto& [name, content] : objects) {
    ASSERT_EQ(storage_->put(name, content), PutResult::kCreated);
    const base::Bytes stored = content_of(*storage_, name);
    EXPECT_TRUE(std::ranges::equal(stored, content)) << name;
  }
}

TEST_P(StorageContract, NeverOverwrites) {
  const base::Bytes first = make_content(2 * kMiB, 1);
  ASSERT_EQ(storage_->put("backups/db/one", first), PutResult::kCreated);
  EXPECT_EQ(storage_->put("backups/db/one", make_content(2 * kMiB, 2)), PutResult::kExists);
  EXPECT_EQ(storage_->put("backups/db/one", {}), PutResult::kExists);
  EXPECT_EQ(content_of(*storage_, "backups/db/one"), first);
}

TEST_P(StorageContract, WhatIsNotThereIsNoError) {
  base::Bytes buffer(10);
  storage_->put("packs/aa/x", buffer);
  for (const std::string name : {"y", "packs", "packs/aa", "packs/aa/y", "no/such/directory"}) {
    EXPECT_EQ(storage_->get(name, kAnySize), std::nullopt) << name;
    EXPECT_EQ(storage_->read(name, 0, buffer), std::nullopt) << name;
    EXPECT_FALSE(storage_->stat(name).has_value()) << name;
    EXPECT_FALSE(storage_->remove(name)) << name;
  }
  EXPECT_THAT(names_in(*storage_, "index/"), IsEmpty());
  EXPECT_THAT(names_in(*storage_, "no/such/directory/"), IsEmpty());
}

TEST_P(StorageContract, RefusesHostileNamesBeforeAnythingIsTouched) {
  base::Bytes buffer(10);
  for (const std::string& name : hostile_names()) {
    SCOPED_TRACE(name);
    EXPECT_FALSE(is_valid_name(name));
    const auto kFailed = base::ErrorKind::kFailed;
    EXPECT_EQ(kind_thrown_by([&] { storage_->put(name, buffer); }), kFailed);
    EXPECT_EQ(kind_thrown_by([&] { storage_->get(name, kAnySize); }), kFailed);
    EXPECT_EQ(kind_thrown_by([&] { storage_->read(name, 0, buffer); }), kFailed);
    EXPECT_EQ(kind_thrown_by([&] { storage_->stat(name); }), kFailed);
    EXPECT_EQ(kind_thrown_by([&] { storage_->remove(name); }), kFailed);
    EXPECT_EQ(kind_thrown_by([&] { names_in(*storage_, name + "/"); }), kFailed);
  }
  EXPECT_EQ(kind_thrown_by([&] { names_in(*storage_, "packs"); }), base::ErrorKind::kFailed);
  EXPECT_THAT(names_in(*storage_), IsEmpty());
}

TEST_P(StorageContract, TakesEveryNameOfTheRule) {
  const std::string part(255, 'a');
  const std::string longest = part + "/" + part + "/" + part + "/" + part.substr(0, 232);
  ASSERT_EQ(longest.size(), 1000u);
  const std::vector<std::string> names = {
      std::string(255, 'x'),
      longest,
      "-",
      "...",
      "_",
      "a.b-c_D/0",
      "tmpfile",
      "wal/tmp/1",
      "wal/7301234567890123456/00000001/000000010000000000000001.00000028.backup"};
  for (const std::string& name : names) {
    EXPECT_EQ(storage_->put(name, make_content(100, 3)), PutResult::kCreated) << name;
    EXPECT_EQ(storage_->get(name, 100), make_content(100, 3)) << name;
  }
  EXPECT_EQ(names_in(*storage_).size(), names.size());
}

TEST_P(StorageContract, GetRefusesMoreThanTheCallerExpects) {
  const base::Bytes content = make_content(1000, 4);
  storage_->put("format", content);
  EXPECT_EQ(storage_->get("format", 1000), content);
  EXPECT_EQ(kind_thrown_by([&] { storage_->get("format", 999); }), base::ErrorKind::kDamaged);
  EXPECT_EQ(kind_thrown_by([&] { storage_->get("format", 0); }), base::ErrorKind::kDamaged);
}

TEST_P(StorageContract, ReadsAnyPieceAndStopsAtTheEnd) {
  const base::Bytes content = make_content(10'000, 5);
  storage_->put("packs/aa/x", content);
  const auto piece = [&](std::uint64_t offset, std::size_t size) {
    base::Bytes buffer(size, 0xEE);
    const auto count = storage_->read("packs/aa/x", offset, buffer);
    EXPECT_TRUE(count.has_value());
    const std::size_t left = offset < content.size() ? content.size() - offset : 0;
    EXPECT_EQ(*count, std::min(size, left)) << offset;
    for (std::size_t i = 0; i < *count; ++i) {
      if (buffer[i] != content[offset + i]) return testing::AssertionFailure() << offset + i;
    }
    const bool untouched = std::all_of(buffer.begin() + static_cast<std::ptrdiff_t>(*count),
                                       buffer.end(), [](auto byte) { return byte == 0xEE; });
    return untouched ? testing::AssertionSuccess() : testing::AssertionFailure() << "behind";
  };
  EXPECT_TRUE(piece(0, 10'000));
  EXPECT_TRUE(piece(0, 0));
  EXPECT_TRUE(piece(1, 5000));
  EXPECT_TRUE(piece(9'999, 1));
  EXPECT_TRUE(piece(9'000, 5000));
  EXPECT_TRUE(piece(10'000, 10));
  EXPECT_TRUE(piece(10'001, 10));
  EXPECT_TRUE(piece(std::uint64_t{1} << 40, 10));
  EXPECT_TRUE(piece(std::numeric_limits<std::int64_t>::max(), 10));
  EXPECT_TRUE(piece(std::numeric_limits<std::uint64_t>::max(), 10));
}

TEST_P(StorageContract, ReadsManyObjectsInTurn) {
  constexpr std::size_t kObjects = 100;
  const auto name = [](std::size_t i) { return "packs/aa/" + std::to_string(i); };
  for (std::size_t i = 0; i < kObjects; ++i) storage_->put(name(i), make_content(1000, i));
  in_threads(4, [&](std::size_t thread) {
    for (std::size_t i = 0; i < 4 * kObjects; ++i) {
      const std::size_t object = (i * (thread + 1)) % kObjects;
      base::Bytes buffer(100);
      EXPECT_EQ(storage_->read(name(object), 500, buffer), 100u);
      EXPECT_TRUE(
          std::ranges::equal(buffer, base::ByteView(make_content(1000, object)).subspan(500, 100)));
    }
  });
}

TEST_P(StorageContract, ListsEveryObjectBelowThePrefixInTheOrderOfNames) {
  const std::vector<std::string> names = {
      "a-b",        "a.b",      "a/b",       "a/b-c",          "a/b.c/d",    "a/c/d",
      "a0",         "format",   "aa",        "packs/00/x",     "packs/00-x", "packs/0/x",
      "packs/ff/y", "packsx/1", "wal/1/2/3", "wal/1/2.history"};
  for (const std::string& name : names) {
    storage_->put(name, make_content(name.size(), 1));
  }
  std::vector<std::string> expected = names;
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(names_in(*storage_), expected);
  EXPECT_THAT(names_in(*storage_, "packs/"),
              ElementsAre("packs/0/x", "packs/00-x", "packs/00/x", "packs/ff/y"));
  EXPECT_THAT(names_in(*storage_, "packs/00/"), ElementsAre("packs/00/x"));
  EXPECT_THAT(names_in(*storage_, "a/"), ElementsAre("a/b", "a/b-c", "a/b.c/d", "a/c/d"));
  EXPECT_THAT(names_in(*storage_, "format/"), IsEmpty());
  storage_->list({}, [](const ObjectInfo& info) { EXPECT_EQ(info.size_bytes, info.name.size()); });
}

TEST_P(StorageContract, ListLetsItsCallerUseTheStorage) {
  for (int i = 0; i < 20; ++i) storage_->put("locks/" + std::to_string(i), make_content(5, 1));
  storage_->list("locks/", [&](const ObjectInfo& info) {
    EXPECT_TRUE(storage_->remove(info.name));
    storage_->put("reports/" + info.name, make_content(5, 2));
  });
  EXPECT_THAT(names_in(*storage_, "locks/"), IsEmpty());
  EXPECT_EQ(names_in(*storage_, "reports/locks/").size(), 20u);
}

TEST_P(StorageContract, KnowsWhenAnObjectWasCreated) {
  const auto before = std::chrono::system_clock::now();
  storage_->put("locks/a", make_content(5, 1));
  const auto info = storage_->stat("locks/a");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->name, "locks/a");
  EXPECT_LT(std::chrono::abs(info->modified - before), std::chrono::minutes(1));
  storage_->list("locks/", [&](const ObjectInfo& listed) {
    EXPECT_EQ(listed.name, info->name);
    EXPECT_EQ(listed.modified, info->modified);
  });
}

TEST_P(StorageContract, RemovesOnceAndForGood) {
  storage_->put("packs/aa/x", make_content(1000, 1));
  storage_->put("packs/aa/y", make_content(1000, 2));
  base::Bytes buffer(1000);
  ASSERT_EQ(storage_->read("packs/aa/x", 0, buffer), 1000u);
  EXPECT_TRUE(storage_->remove("packs/aa/x"));
  EXPECT_FALSE(storage_->remove("packs/aa/x"));
  EXPECT_EQ(storage_->get("packs/aa/x", kAnySize), std::nullopt);
  EXPECT_EQ(storage_->read("packs/aa/x", 0, buffer), std::nullopt);
  EXPECT_THAT(names_in(*storage_), ElementsAre("packs/aa/y"));
}

TEST_P(StorageContract, ARemovedNameMayBeUsedAgain) {
  storage_->put("packs/aa/x", make_content(1000, 1));
  base::Bytes buffer(1000);
  ASSERT_EQ(storage_->read("packs/aa/x", 0, buffer), 1000u);
  storage_->remove("packs/aa/x");
  EXPECT_EQ(storage_->put("packs/aa/x", make_content(1000, 2)), PutResult::kCreated);
  ASSERT_EQ(storage_->read("packs/aa/x", 0, buffer), 1000u);
  EXPECT_EQ(buffer, make_content(1000, 2));
}

TEST_P(StorageContract, OfManyPutsOfOneNameExactlyOneCreates) {
  constexpr std::size_t kThreads = 8;
  for (int round = 0; round < 20; ++round) {
    const std::string name = "locks/" + std::to_string(round) + "/a";
    std::atomic<int> created = 0;
    std::atomic<std::size_t> winner = 0;
    in_threads(kThreads, [&](std::size_t i) {
      if (storage_->put(name, make_content(20'000, i)) == PutResult::kCreated) {
        ++created;
        winner = i;
      }
      // Whoever returns finds the object there, whole.
      EXPECT_EQ(content_of(*storage_, name).size(), 20'000u);
    });
    EXPECT_EQ(created, 1);
    EXPECT_EQ(content_of(*storage_, name), make_content(20'000, winner));
  }
}

TEST_P(StorageContract, OfManyRemovesOfOneNameOneRemoves) {
  for (int round = 0; round < 20; ++round) {
    storage_->put("locks/a", make_content(10, 1));
    std::atomic<int> removed = 0;
    in_threads(8, [&](std::size_t) { removed += storage_->remove("locks/a") ? 1 : 0; });
    EXPECT_GE(removed, 1);
    if (GetParam().one_remover) {
      EXPECT_EQ(removed, 1);
    }
    EXPECT_FALSE(storage_->stat("locks/a"));
  }
}

TEST_P(StorageContract, RemovesManyAtOnce) {
  std::vector<std::string> names;
  for (int i = 0; i < 1200; ++i) names.push_back("packs/aa/" + std::to_string(i));
  for (std::size_t i = 0; i < names.size(); i += 30) storage_->put(names[i], make_content(10, i));
  storage_->put("packs/aa/other", make_content(10, 1));
  storage_->remove_all(names);  // most of which are not there
  storage_->remove_all({});
  EXPECT_THAT(names_in(*storage_), ElementsAre("packs/aa/other"));
  const std::vector<std::string> hostile = {"packs/aa/other", "../x"};
  EXPECT_EQ(kind_thrown_by([&] { storage_->remove_all(hostile); }), base::ErrorKind::kFailed);
}

TEST_P(StorageContract, ThreadsDoNotDisturbEachOther) {
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kObjects = 25;
  in_threads(kThreads, [&](std::size_t thread) {
    for (std::size_t i = 0; i < kObjects; ++i) {
      const std::size_t seed = thread * kObjects + i;
      const std::string name = "packs/" + std::to_string(i) + "/" + std::to_string(thread);
      EXPECT_EQ(storage_->put(name, make_content(seed * 100, seed)), PutResult::kCreated);
      EXPECT_EQ(content_of(*storage_, name), make_content(seed * 100, seed));
      storage_->list("packs/", [](const ObjectInfo&) {});
      if (i % 2 == 1) {
        EXPECT_TRUE(storage_->remove(name));
      }
    }
  });
  EXPECT_EQ(names_in(*storage_).size(), kThreads * (kObjects + 1) / 2);
}

TEST_P(StorageContract, SaysWhereItIs) { EXPECT_FALSE(storage_->describe().empty()); }

TEST_P(StorageContract, ErrorsNameTheObject) {
  storage_->put("reports/x", make_content(10, 1));
  try {
    storage_->get("reports/x", 5);
    FAIL() << "no error";
  } catch (const base::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("reports/x"));
  }
}

}  // namespace
}  // namespace holdfast::storage
