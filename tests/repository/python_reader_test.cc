// contrib/read_repository.py, which was written from docs/format.md alone, reads what is written
// here.
#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/process.h"
#include "golden_sample.h"
#include "storage/damage.h"
#include "storage/directory.h"
#include "storage/temporary_directory.h"

namespace holdfast::repository {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::string_view kPython = "/usr/bin/python3";  // Debian's, which sees Debian's modules

fs::path script() {
  return fs::canonical(__FILE__).parent_path() / "../../contrib/read_repository.py";
}

bool python_has_its_modules() {
  const auto result =
      base::run_process({.argv = {std::string(kPython), "-c", "import cryptography, zstandard"},
                         .working_directory = {},
                         .uid = {},
                         .extra_environment = {}});
  return result.exit_status == 0;
}

class PythonReaderTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(kPython) || !python_has_its_modules()) {
      GTEST_SKIP() << "SKIPPED: needs python3-cryptography and python3-zstandard";
    }
    const crypto::SecretText text = make_key_file(random);
    base::write_file_durably(key, base::as_bytes(text.view()), 0600);
    auto storage = storage::create_directory(root);
    create(*storage, parse_key_file(text), "first", clock, random);
    repository = Repository::open(std::move(storage), parse_key_file(text), clock, random, 3);
    sample = put_sample(repository->context(), "database", clock.now());
  }

  base::ProcessResult run(const std::vector<std::string>& arguments, const fs::path& with_key) {
    std::vector<std::string> argv{std::string(kPython), "-B",         script().string(), "--key",
                                  with_key.string(),    root.string()};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return base::run_process({.argv = argv,
                              .working_directory = {},
                              .uid = {},
                              .extra_environment = {},
                              .max_output_bytes = 64 * 1024 * 1024});
  }
  base::ProcessResult run(const std::vector<std::string>& arguments) { return run(arguments, key); }

  void expect_extracted(const fs::path& directory) {
    for (const auto& [path, content] : sample.files) {
      EXPECT_TRUE(base::read_file(directory / path, 1 << 24) == content) << path;
      EXPECT_EQ(fs::status(directory / path).permissions(), fs::perms(0640)) << path;
    }
    for (const auto& [path, target] : sample.links) {
      EXPECT_EQ(fs::read_symlink(directory / path), target);
    }
    EXPECT_TRUE(fs::is_directory(directory / "base"));
  }

  storage::TemporaryDirectory temporary;
  const fs::path root = temporary.path() / "repository";
  const fs::path key = temporary.path() / "key";
  StoppedClock clock;
  RepeatableRandom random;
  std::unique_ptr<Repository> repository;
  Sample sample;
};

TEST_F(PythonReaderTest, ListsBackups) {
  const auto result = run({"list"});
  ASSERT_EQ(result.exit_status, 0) << result.err;
  const auto header = nlohmann::json::parse(result.out);
  EXPECT_EQ(header["id"], sample.backup);
  EXPECT_EQ(header["postgresql"]["version"], "15.5");
}

TEST_F(PythonReaderTest, ExtractsABackup) {
  const fs::path target = temporary.path() / "out";
  const auto result = run({"extract", sample.backup, target.string()});
  ASSERT_EQ(result.exit_status, 0) << result.err;
  expect_extracted(target);
}

TEST_F(PythonReaderTest, ExtractsWithoutTheIndex) {
  for (const std::string& name : storage::names_in(repository->storage(), "index/")) {
    repository->storage().remove(name);
  }
  const fs::path target = temporary.path() / "out";
  const auto result = run({"extract", sample.backup, target.string()});
  ASSERT_EQ(result.exit_status, 0) << result.err;
  expect_extracted(target);
}

TEST_F(PythonReaderTest, PrintsLogs) {
  const auto wal = run({"wal", "000000010000000000000001"});
  ASSERT_EQ(wal.exit_status, 0) << wal.err;
  EXPECT_TRUE(bytes_of(wal.out) == sample.wal);
  put_log(repository->context(), "wal/1/00000001/large", make_large_wal(), {}, 2);
  EXPECT_TRUE(bytes_of(run({"wal", "large"}).out) == make_large_wal());
  const auto history = run({"wal", std::string(kSampleHistory)});
  EXPECT_EQ(bytes_of(history.out), sample.history) << history.err;
}

TEST_F(PythonReaderTest, ExportedKeysOpenWhatTheyShould) {
  const fs::path full = temporary.path() / "full";
  const fs::path write_only = temporary.path() / "write-only";
  const Keyring& keyring = repository->keyring();
  base::write_file_durably(full, base::as_bytes(export_key_file(keyring).view()), 0600);
  base::write_file_durably(write_only, base::as_bytes(export_key_file(keyring.write_only()).view()),
                           0600);
  EXPECT_TRUE(bytes_of(run({"wal", std::string(kSampleWal)}, full).out) == sample.wal);
  const fs::path paper = temporary.path() / "paper";
  const crypto::SecretText printed = print_key_file(keyring, {});
  base::write_file_durably(paper, base::as_bytes(printed.view()), 0600);
  EXPECT_TRUE(bytes_of(run({"wal", std::string(kSampleWal)}, paper).out) == sample.wal);
  std::string mistyped(printed.view());
  char& digit = mistyped[mistyped.find("  2: ") + 5];
  digit = digit == 'A' ? 'B' : 'A';
  base::write_file_durably(paper, base::as_bytes(mistyped), 0600);
  EXPECT_THAT(run({"list"}, paper).err, HasSubstr("line 2 of the key is mistyped"));
  EXPECT_EQ(run({"list"}, write_only).exit_status, 0);
  const auto refused = run({"wal", std::string(kSampleWal)}, write_only);
  EXPECT_EQ(refused.exit_status, 1);
  EXPECT_EQ(refused.out, "");
  EXPECT_THAT(refused.err, HasSubstr("cannot be read with this key"));
}

TEST_F(PythonReaderTest, DamageIsRefused) {
  storage::flip_bit(repository->storage(), kSampleWal, 8 * 10'000);
  const auto result = run({"wal", std::string(kSampleWal)});
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("does not authenticate"));
}

}  // namespace
}  // namespace holdfast::repository
