// Tables that no backup would write are refused before anything is.
#include "base/bytes.h"
#include "restore_fixture.h"

namespace holdfast::files {
namespace {

constexpr std::uint8_t kFile = 1;
constexpr std::uint8_t kDirectory = 2;
constexpr std::uint8_t kSymlink = 3;
constexpr std::uint8_t kWithAttributes = 0x80;
constexpr std::uint8_t kXattr = 2;
constexpr std::uint8_t kHardLink = 3;

// An entry in the bytes of a table ("The file table" in docs/format.md), whatever it says.
struct RawEntry {
  std::string path;
  std::uint8_t type = kFile;
  std::string target = {};
  std::vector<std::pair<std::uint8_t, std::string>> attributes = {};

  void write(base::ByteWriter& out) const {
    out.string(path);
    out.u8(static_cast<std::uint8_t>(type | (attributes.empty() ? 0 : kWithAttributes)));
    out.varint(0755);
    out.string("");
    out.varint(0);
    out.string("");
    out.varint(0);
    out.u64(0);
    out.varint(0);
    out.string(target);
    out.u8(0);
    out.varint(0);
    if (attributes.empty()) return;
    for (const auto& [tag, value] : attributes) {
      out.u8(tag);
      out.string(value);
    }
    out.u8(0);
  }
};

std::string xattr(std::string_view name, std::string_view value) {
  base::ByteWriter out;
  out.string(name);
  out.raw(base::as_bytes(value));
  return std::string(base::as_text(out.view()));
}

class HostileRestoreTest : public RestoreTest {
 protected:
  repository::BackupRecord store_raw(const std::vector<RawEntry>& entries) {
    repository::BackupRecord record = store_entries({});
    repository::StoreRun run(repository_.context());
    record.file_table.clear();
    base::ByteWriter piece;
    for (const RawEntry& entry : entries) {
      entry.write(piece);
      if (piece.size() < 1024 * 1024 && &entry != &entries.back()) continue;
      record.file_table.push_back(run.writer->put_metadata(piece.view()));
      piece = {};
    }
    run.finish();
    return record;
  }

  void expect_refused(const std::vector<RawEntry>& entries) {
    fs::remove_all(to_);
    const auto record = store_raw(entries);
    EXPECT_EQ(error_of_restore(record).kind(), base::ErrorKind::kDamaged) << entries.back().path;
    EXPECT_FALSE(fs::exists(to_)) << entries.back().path;
    // Nor over what is there.
    fs::create_directories(to_ / "a");
    write_text(to_ / "a/mine", "mine");
    const auto before = snapshot(directory_.path());
    EXPECT_EQ(error_of_restore(record, {.to = to_, .delta = true}).kind(),
              base::ErrorKind::kDamaged);
    EXPECT_EQ(snapshot(directory_.path()), before);
  }
};

TEST_F(HostileRestoreTest, what_is_plain_is_restored) {
  restore(store_raw({{"a", kDirectory}, {"a/x"}, {"l", kSymlink, "/etc"}}));
  EXPECT_TRUE(fs::is_regular_file(to_ / "a/x"));
  EXPECT_EQ(fs::read_symlink(to_ / "l"), "/etc");
}

TEST_F(HostileRestoreTest, no_path_leads_out) {
  for (const char* path : {"../x", "a/../../x", "..", "a/..", ".", "./x", "/etc/x", "/", "//x",
                           "a//x", "a/./x", "a/", ""}) {
    expect_refused({{"a", kDirectory}, {path}});
    expect_refused({{path}});
    expect_refused({{path, kDirectory}});
    expect_refused({{path, kSymlink, "/etc"}});
  }
  expect_refused({{std::string("a\0b", 3)}});
}

TEST_F(HostileRestoreTest, nothing_stands_below_what_is_no_directory) {
  expect_refused({{"a", kSymlink, "/tmp"}, {"a/x"}});
  expect_refused({{"a", kSymlink, "."}, {"a/x", kDirectory}});
  expect_refused({{"a", kFile}, {"a/x"}});
  expect_refused({{"a", 4}, {"a/x"}});
  expect_refused({{"a/x"}});
  expect_refused({{"a", kDirectory}, {"a/b/x"}});
  expect_refused({{"a", kDirectory}, {"a/b", kSymlink, "/tmp"}, {"a/b/c/x"}});
}

TEST_F(HostileRestoreTest, no_entry_stands_twice) {
  expect_refused({{"a"}, {"a"}});
  expect_refused({{"a", kSymlink, "/tmp"}, {"a", kDirectory}, {"a/x"}});
  expect_refused({{"a", kDirectory}, {"a", kSymlink, "/tmp"}, {"a/x"}});
  expect_refused({{"b"}, {"a"}});
}

TEST_F(HostileRestoreTest, no_device_is_made) {
  for (const std::uint8_t type : std::vector<std::uint8_t>{0, 5, 6, 7, 127}) {
    expect_refused({{"a", type}});
  }
}

TEST_F(HostileRestoreTest, hard_links_lead_to_files_before_them) {
  const auto link = [](std::string to) {
    return std::vector<std::pair<std::uint8_t, std::string>>{{kHardLink, std::move(to)}};
  };
  expect_refused({{"b", kFile, "", link("c")}, {"c"}});
  expect_refused({{"b", kFile, "", link("b")}});
  expect_refused({{"b", kFile, "", link("/etc/passwd")}});
  expect_refused({{"b", kFile, "", link("../a")}});
  expect_refused({{"b", kFile, "", link("a")}});
  expect_refused({{"b", kFile, "", link("")}});
  expect_refused({{"a", kDirectory}, {"b", kFile, "", link("a")}});
  expect_refused({{"a", kSymlink, "/etc/passwd"}, {"b", kFile, "", link("a")}});
  expect_refused({{"a"}, {"b", kFile, "", link("a")}, {"c", kFile, "", link("b")}});
  expect_refused({{"a", kDirectory}, {"b", kDirectory, "", link("a")}});
}

TEST_F(HostileRestoreTest, attributes_are_bounded) {
  std::vector<std::pair<std::uint8_t, std::string>> many;
  for (int i = 0; i < 40; ++i) {
    many.emplace_back(kXattr, xattr(fmt::format("user.{:02}", i), std::string(32 * 1024, 'x')));
  }
  expect_refused({{"a", kFile, "", many}});
  expect_refused({{"a", kFile, "", {{kXattr, xattr(std::string(256, 'u'), "")}}}});
  expect_refused({{"a", kFile, "", {{kXattr, xattr("", "x")}}}});
}

TEST_F(HostileRestoreTest, names_and_targets_are_bounded) {
  expect_refused({{std::string(256, 'n')}});
  expect_refused({{"a", kSymlink, std::string(4096, 't')}});
  expect_refused({{"a", kSymlink, std::string("x\0y", 3)}});
  std::string path = "d";
  std::vector<RawEntry> nested;
  for (int i = 0; i < 10'000; ++i, path += "/d") nested.push_back({path, kDirectory});
  expect_refused(nested);
}

// As deep as a path can be, and with no more descriptors than usual.
TEST_F(HostileRestoreTest, deep_directories_are_restored) {
  std::vector<RawEntry> nested;
  std::string path = "d";
  for (; path.size() <= 4096; path += "/d") nested.push_back({path, kDirectory});
  nested.back().type = kFile;
  restore(store_raw(nested));
  restore_over(store_raw(nested));
  base::UniqueFd at = base::open_file(to_, O_RDONLY);
  for (std::size_t i = 0; i + 1 < nested.size(); ++i) {
    at = base::UniqueFd(::openat(at.get(), "d", O_RDONLY | O_DIRECTORY));
    ASSERT_TRUE(at);
  }
  EXPECT_EQ(::faccessat(at.get(), "d", F_OK, 0), 0);
  // What the test's own cleaning cannot.
  EXPECT_EQ(std::system(fmt::format("rm -rf -- '{}'", to_.native()).c_str()), 0);
}

// Whoever can read the backup's key could write this; it is a mess, but of this directory alone.
TEST_F(HostileRestoreTest, an_attribute_that_cannot_be_set_is_told) {
  const auto record = store_raw(
      {{"a", kFile, "", {{kXattr, xattr("user.big", std::string(200'000, 'x'))}}}, {"b"}});
  const RestoreResult result = restore(record);
  ASSERT_EQ(result.warnings.size(), 1u);
  EXPECT_NE(result.warnings[0].find("user.big"), std::string::npos);
  EXPECT_TRUE(fs::exists(to_ / "b"));
}

}  // namespace
}  // namespace holdfast::files
