#include "crypto/secret.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>

#include "crypto/test_bytes.h"

namespace holdfast::crypto {
namespace {

// Whether `needle` stands anywhere in the bytes of `object` itself.
template <typename T>
bool holds(const T& object, std::string_view needle) {
  const auto* const begin = reinterpret_cast<const char*>(&object);
  const auto* const end = begin + sizeof object;
  return std::search(begin, end, needle.begin(), needle.end()) != end;
}

// Memory that is ours after the object in it is gone.
template <typename T>
struct Storage {
  alignas(T) std::array<char, sizeof(T)> bytes{};
  template <typename... Args>
  T* make(Args&&... args) {
    return new (bytes.data()) T(std::forward<Args>(args)...);
  }
};

TEST(SecretTextTest, ShortTextLeavesNothingBehind) {
  std::string source = "hunter2hunter2";  // stands within the string object
  Storage<SecretText> storage;
  SecretText* const text = storage.make(std::move(source));
  EXPECT_FALSE(holds(source, "hunter"));
  EXPECT_TRUE(holds(storage.bytes, "hunter2hunter2"))
      << "this test needs short strings to be inline";

  SecretText moved(std::move(*text));
  EXPECT_FALSE(holds(storage.bytes, "hunter"));
  EXPECT_TRUE(text->empty());
  EXPECT_EQ(moved.view(), "hunter2hunter2");

  *text = std::move(moved);
  EXPECT_FALSE(holds(moved, "hunter"));
  EXPECT_EQ(text->view(), "hunter2hunter2");
  std::destroy_at(text);
  EXPECT_FALSE(holds(storage.bytes, "hunter"));
}

TEST(SecretTextTest, LongTextMovesWithItsMemory) {
  const std::string content(1000, 'k');
  SecretText first{std::string(content)};
  SecretText second(std::move(first));
  EXPECT_TRUE(first.empty());
  EXPECT_EQ(second.view(), content);
  first = std::move(second);
  EXPECT_EQ(first.view(), content);
  first = SecretText(std::string("other"));
  EXPECT_EQ(first.view(), "other");
  static_assert(!std::is_copy_constructible_v<SecretText>);
}

TEST(SecretKeyTest, IsWipedWhenDestroyed) {
  const std::string content = "0123456789abcdef0123456789abcdef";
  const base::ByteView bytes = base::as_bytes(content);
  Storage<AeadKey> storage;
  AeadKey* const key =
      storage.make(std::span<const std::uint8_t, 32>(bytes.data(), AeadKey::kSize));
  EXPECT_TRUE(holds(storage.bytes, content));
  std::destroy_at(key);
  EXPECT_TRUE(
      std::all_of(storage.bytes.begin(), storage.bytes.end(), [](char c) { return c == 0; }));
  static_assert(!std::is_convertible_v<MetadataKey, IdentityKey>);
}

TEST(WipeTest, ClearsAllAndTakesNothing) {
  base::Bytes bytes(100, 0xff);
  wipe(bytes);
  EXPECT_EQ(bytes, base::Bytes(100, 0));
  wipe({});
}

TEST(ForbidCoreDumpsTest, SetsBothBarriers) {
  forbid_core_dumps();
  EXPECT_EQ(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
  struct rlimit limit {};
  ASSERT_EQ(getrlimit(RLIMIT_CORE, &limit), 0);
  EXPECT_EQ(limit.rlim_cur, 0u);
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

}  // namespace
}  // namespace holdfast::crypto
