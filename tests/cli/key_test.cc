// holdfast key: who can open a repository.
#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "run_program.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class Keys : public testing::Test {
 protected:
  Keys() { stack_.run({"init"}); }

  json list() { return stack_.run({"key", "list", "--json"}).json()["keys"]; }
  // The same stack with another key file.
  Outcome run_with(const std::string& key_file, std::vector<std::string> words) {
    std::ofstream(stack_.file("other.yaml"))
        << "repositories: {main: {url: repo, key_file: " << key_file << "}}\n"
        << "components: {database: {type: postgresql, connection: host=/nowhere}}\n";
    words.insert(words.begin(), {"-c", stack_.file("other.yaml")});
    return run_words(words);
  }
  static unsigned mode_of(const std::string& file) {
    struct stat status {};
    EXPECT_EQ(::stat(file.c_str(), &status), 0);
    return status.st_mode & 0777;
  }

  Stack stack_;
};

TEST_F(Keys, AreListed) {
  const json keys = list();
  ASSERT_EQ(keys.size(), 1U);
  EXPECT_EQ(keys[0]["kind"], "key_file");
  EXPECT_EQ(keys[0]["rights"], "full");
  EXPECT_EQ(keys[0]["in_use"], true);
  EXPECT_THAT(stack_.run({"key", "list"}).out, HasSubstr("in use"));
}

TEST_F(Keys, AreAddedAndRemoved) {
  const Outcome added = stack_.run(
      {"key", "add", "--key-file", stack_.file("second.key"), "--label", "Anna", "--json"});
  ASSERT_EQ(added.status, 0) << added.err;
  EXPECT_EQ(added.json()["key_file_created"], true);
  EXPECT_EQ(mode_of(stack_.file("second.key")), 0600U);
  EXPECT_EQ(run_with("second.key", {"list"}).status, 0);
  EXPECT_EQ(list()[1]["label"], "Anna");

  const std::string id = added.json()["added"];
  EXPECT_EQ(stack_.run({"key", "remove", id.substr(0, 12)}).status, 0);
  EXPECT_EQ(run_with("second.key", {"list"}).status, 1);
  EXPECT_EQ(list().size(), 1U);
}

TEST_F(Keys, AreNotAddedTwice) {
  stack_.run({"key", "add", "--key-file", stack_.file("second.key")});
  EXPECT_EQ(stack_.run({"key", "add", "--key-file", stack_.file("second.key")}).status, 1);
  EXPECT_EQ(list().size(), 2U);
}

TEST_F(Keys, MayBePassphrases) {
  setenv("HOLDFAST_TEST_PASS", "correct horse", 1);
  ASSERT_EQ(stack_.run({"key", "add", "--passphrase-env", "HOLDFAST_TEST_PASS"}).status, 0);
  EXPECT_EQ(list()[1]["kind"], "passphrase");
  std::ofstream(stack_.file("other.yaml"))
      << "repositories: {main: {url: repo, passphrase: {env: HOLDFAST_TEST_PASS}}}\n";
  EXPECT_EQ(run_words({"-c", stack_.file("other.yaml"), "list"}).status, 0);

  std::ofstream(stack_.file("new")) << "battery staple\n";
  const Outcome rotated = run_words(
      {"-c", stack_.file("other.yaml"), "key", "rotate", "--passphrase-file", stack_.file("new")});
  EXPECT_EQ(rotated.status, 0) << rotated.err;
  EXPECT_THAT(rotated.out, HasSubstr("other.yaml:1:"));
  EXPECT_EQ(run_words({"-c", stack_.file("other.yaml"), "list"}).status, 1);
  setenv("HOLDFAST_TEST_PASS", "battery staple", 1);
  EXPECT_EQ(run_words({"-c", stack_.file("other.yaml"), "list"}).status, 0);
}

TEST_F(Keys, InUseAreNotRemoved) {
  stack_.run({"key", "add", "--key-file", stack_.file("second.key")});
  const Outcome outcome = stack_.run({"key", "remove", list()[0]["id"].get<std::string>()});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("key rotate"));
  EXPECT_EQ(list().size(), 2U);
}

TEST_F(Keys, AreRotated) {
  const std::string before = base::read_text_file(stack_.file("holdfast.key"), 4096);
  const Outcome outcome = stack_.run({"key", "rotate", "--json"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(base::read_text_file(stack_.file("holdfast.key"), 4096), before);
  EXPECT_EQ(base::read_text_file(outcome.json()["old_key_file"].get<std::string>(), 4096), before);
  EXPECT_EQ(stack_.run({"list"}).status, 0);
  EXPECT_EQ(list().size(), 1U);
}

TEST_F(Keys, AreExportedToANewFileAlone) {
  const std::string file = stack_.file("exported.key");
  EXPECT_EQ(stack_.run({"key", "export", file}).status, 0);
  EXPECT_EQ(mode_of(file), 0600U);
  EXPECT_EQ(run_with("exported.key", {"key", "list"}).status, 0);
  EXPECT_EQ(stack_.run({"key", "export", file}).status, 1);
  EXPECT_EQ(stack_.run({"key", "export", "-o", stack_.file("again.key")}).status, 0);
}

TEST_F(Keys, GoToStandardOutputButNeverIntoJson) {
  EXPECT_THAT(stack_.run({"key", "export"}).out, HasSubstr("holdfast-key-1 FULL "));
  const Outcome outcome = stack_.run({"key", "export", "--json"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.out, Not(HasSubstr("holdfast-key-1")));
}

TEST_F(Keys, ThatOnlyWriteAreRefusedWhatReads) {
  ASSERT_EQ(stack_.run({"key", "export", "--write-only", stack_.file("write.key")}).status, 0);
  const auto run = [&](std::vector<std::string> words) { return run_with("write.key", words); };
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"restore", "database", "--to", stack_.file("back")},
           {"verify"},
           {"wal", "fetch", "000000010000000000000001", stack_.file("x")},
           {"key", "export"},
           {"key", "rotate"},
           {"key", "add", "--key-file", stack_.file("more.key")},
           {"key", "remove", "00"}}) {
    std::vector<std::string> with_json = words;
    with_json.emplace_back("--json");
    if (words.back() == "export") with_json.push_back(stack_.file("export"));
    const Outcome outcome = run(with_json);
    EXPECT_EQ(outcome.status, 1);
    EXPECT_EQ(outcome.json()["error"]["code"], "refused") << outcome.out;
    EXPECT_THAT(outcome.err, HasSubstr("write-only"));
  }
  EXPECT_THAT(run({"verify"}).err, HasSubstr("--quick"));
  EXPECT_EQ(run({"verify", "--quick"}).status, 0);
  EXPECT_EQ(run({"key", "list"}).status, 0);
  EXPECT_EQ(run({"list"}).status, 0);
  EXPECT_FALSE(std::filesystem::exists(stack_.file("back")));
  EXPECT_FALSE(std::filesystem::exists(stack_.file("more.key")));
}

}  // namespace
}  // namespace holdfast::cli
