#include "stack/repositories.h"

#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "storage/temporary_directory.h"

namespace holdfast::stack {
namespace {

namespace fs = std::filesystem;
using base::ErrorKind;
using testing::HasSubstr;

class Repositories : public testing::Test {
 protected:
  Repositories() {
    config_.name = "main";
    config_.url = (directory_.path() / "deep/repo").string();
    config_.key_file = (directory_.path() / "secure/holdfast.key").string();
    config_.where = "holdfast.yaml:2:3";
  }

  template <typename Body>
  base::Error failure(Body&& body) {
    try {
      body();
    } catch (const base::Error& error) {
      return error;
    }
    ADD_FAILURE() << "no error";
    return {ErrorKind::kFailed, ""};
  }
  std::unique_ptr<repository::Repository> open() {
    return open_repository(config_, clock_, random_);
  }
  CreatedRepository create() { return create_repository(config_, clock_, random_); }
  static mode_t mode_of(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    return status.st_mode & 0777;
  }

  storage::TemporaryDirectory directory_;
  base::SystemClock clock_;
  crypto::SystemRandom random_;
  RepositoryConfig config_;
};

TEST_F(Repositories, AreMadeWithTheirKeyFileAndOpened) {
  const CreatedRepository made = create();
  EXPECT_TRUE(made.created);
  EXPECT_TRUE(made.key_file_created);
  EXPECT_EQ(mode_of(config_.key_file), 0600U);
  EXPECT_EQ(mode_of(fs::path(config_.key_file).parent_path().string()), 0700U);
  EXPECT_TRUE(open()->keyring().can_read_data());
}

TEST_F(Repositories, AreNotTouchedWhereTheyExist) {
  create();
  const std::string key = base::read_text_file(config_.key_file, 4096);
  const CreatedRepository again = create();
  EXPECT_FALSE(again.created);
  EXPECT_FALSE(again.key_file_created);
  EXPECT_EQ(base::read_text_file(config_.key_file, 4096), key);
}

TEST_F(Repositories, TakeAKeyFileThatIsThere) {
  create_key_file(config_.key_file, random_);
  const std::string key = base::read_text_file(config_.key_file, 4096);
  const CreatedRepository made = create();
  EXPECT_TRUE(made.created);
  EXPECT_FALSE(made.key_file_created);
  EXPECT_EQ(base::read_text_file(config_.key_file, 4096), key);
}

// A new key file would look as if all were well, and open nothing.
TEST_F(Repositories, NeverGetANewKeyForAnOldRepository) {
  create();
  fs::remove(config_.key_file);
  EXPECT_EQ(failure([&] { create(); }).kind(), ErrorKind::kKey);
  EXPECT_FALSE(fs::exists(config_.key_file));
}

TEST_F(Repositories, AreMissedWithAHint) {
  create_key_file(config_.key_file, random_);
  const base::Error error = failure([&] { open(); });
  EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  EXPECT_THAT(error.hint(), HasSubstr("holdfast init"));
}

TEST_F(Repositories, AreMissedEvenWhereTheKeyIsMissingToo) {
  EXPECT_EQ(failure([&] { open(); }).kind(), ErrorKind::kNotFound);
}

TEST_F(Repositories, WithoutTheirFormatAreDamagedNotMissing) {
  create();
  fs::remove(fs::path(config_.url) / "format");
  EXPECT_EQ(failure([&] { open(); }).kind(),
            ErrorKind::kNotFound);  // what an interrupted init leaves
  fs::create_directories(fs::path(config_.url) / "backups/database");
  std::ofstream(fs::path(config_.url) / "backups/database/database-20240101T000000Z") << "x";
  EXPECT_EQ(failure([&] { open(); }).kind(), ErrorKind::kDamaged);
}

TEST_F(Repositories, RefuseAKeyFileThatOthersMayRead) {
  create();
  fs::permissions(config_.key_file, fs::perms(0640));
  EXPECT_EQ(key_file_access(config_.key_file), KeyFileAccess::kGroup);
  open();
  fs::permissions(config_.key_file, fs::perms(0644));
  const base::Error error = failure([&] { open(); });
  EXPECT_EQ(error.kind(), ErrorKind::kKey);
  EXPECT_THAT(error.hint(), HasSubstr("chmod 600"));
}

TEST_F(Repositories, OpenByAPassphraseFromFileOrEnvironment) {
  config_.key_file.clear();
  const std::string file = (directory_.path() / "passphrase").string();
  std::ofstream(file) << "correct horse\n";
  config_.passphrase = {SecretSource::Kind::kFile, file, "holdfast.yaml:4:5"};
  EXPECT_TRUE(create().created);
  open();
  setenv("HOLDFAST_TEST_PASSPHRASE", "correct horse", 1);
  config_.passphrase = {SecretSource::Kind::kEnvironment, "HOLDFAST_TEST_PASSPHRASE", "x:4:5"};
  open();
  setenv("HOLDFAST_TEST_PASSPHRASE", "wrong", 1);
  EXPECT_EQ(failure([&] { open(); }).kind(), ErrorKind::kKey);
  unsetenv("HOLDFAST_TEST_PASSPHRASE");
  const base::Error error = failure([&] { open(); });
  EXPECT_EQ(error.kind(), ErrorKind::kConfig);
  EXPECT_THAT(error.what(), HasSubstr("x:4:5"));
}

TEST_F(Repositories, OnS3AreNotSupportedYet) {
  config_.url = "s3://bucket/prefix";
  for (const base::Error& error : {failure([&] { open(); }), failure([&] { create(); })}) {
    EXPECT_EQ(error.kind(), ErrorKind::kConfig);
    EXPECT_THAT(error.what(), HasSubstr("not supported by this version yet"));
  }
}

}  // namespace
}  // namespace holdfast::stack
