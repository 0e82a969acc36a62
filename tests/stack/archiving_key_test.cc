#include "stack/archiving_key.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "base/file.h"
#include "stack/repositories.h"
#include "storage/temporary_directory.h"

namespace holdfast::stack {
namespace {

namespace fs = std::filesystem;

class ArchivingKeyTest : public testing::Test {
 protected:
  ArchivingKeyTest() {
    fs::create_directory(runtime());
    fs::permissions(runtime(), fs::perms::owner_all);
    ::setenv("XDG_RUNTIME_DIR", runtime().c_str(), 1);
    write_passphrase("correct horse battery staple");
    config_.name = "main";
    config_.url = (directory_.path() / "repository").string();
    config_.passphrase.kind = SecretSource::Kind::kFile;
    config_.passphrase.value = (directory_.path() / "passphrase").string();
    create_repository(config_, clock_, random_);
  }
  ~ArchivingKeyTest() override { ::unsetenv("XDG_RUNTIME_DIR"); }

  fs::path runtime() const { return directory_.path() / "runtime"; }
  void write_passphrase(const std::string& text) {
    std::ofstream(directory_.path() / "passphrase") << text << '\n';
  }
  fs::path kept() const {
    for (const auto& entry : fs::directory_iterator(runtime() / "holdfast")) return entry.path();
    return {};
  }
  std::unique_ptr<repository::Repository> open() {
    return open_repository_for_archiving(config_, clock_, random_);
  }

  storage::TemporaryDirectory directory_;
  base::SystemClock clock_;
  crypto::SystemRandom random_;
  RepositoryConfig config_;
};

TEST_F(ArchivingKeyTest, IsKeptByTheFirstCallAndOpensTheSecondForWritingAlone) {
  EXPECT_TRUE(open()->keyring().can_read_data());  // by the passphrase
  struct stat status {};
  ASSERT_EQ(::stat(kept().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  const auto repository = open();
  EXPECT_FALSE(repository->keyring().can_read_data());
  EXPECT_FALSE(repository->keyring().data.empty());
}

TEST_F(ArchivingKeyTest, OfAnotherRepositoryIsReplaced) {
  open();
  fs::remove_all(config_.url);
  create_repository(config_, clock_, random_);
  EXPECT_TRUE(open()->keyring().can_read_data());
  EXPECT_FALSE(open()->keyring().can_read_data());
}

TEST_F(ArchivingKeyTest, IsNotTakenFromAFileThatOthersMayTouch) {
  open();
  ASSERT_EQ(::chmod(kept().c_str(), 0644), 0);
  EXPECT_TRUE(open()->keyring().can_read_data());
}

}  // namespace
}  // namespace holdfast::stack
