#include "stack/repositories.h"

#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "repository/copy.h"
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

// ---- Keys of several repositories ---------------------------------------------------------------

class TwoRepositories : public Repositories {
 protected:
  TwoRepositories() {
    other_ = config_;
    other_.name = "offsite";
    other_.url = (directory_.path() / "offsite").string();
    create();
  }
  CreatedRepository create_other(bool own_keys = false) {
    const std::vector<RepositoryConfig> all = {config_, other_};
    return create_repository(other_, clock_, random_, {.others = all, .own_keys = own_keys});
  }
  bool share() {
    const auto other = open_repository(other_, clock_, random_);
    return repository::share_keys(open()->keyring(), other->keyring());
  }

  RepositoryConfig other_;
};

TEST_F(TwoRepositories, OfOneKeyFileHaveTheSameKeys) {
  EXPECT_EQ(create_other().shares_keys_with, "main");
  EXPECT_TRUE(share());
  EXPECT_TRUE(open_repository(other_, clock_, random_)->keyring().can_read_data());
}

TEST_F(TwoRepositories, HaveTheirOwnKeysWhereThatIsWished) {
  EXPECT_EQ(create_other(true).shares_keys_with, "");
  EXPECT_FALSE(share());
}

TEST_F(TwoRepositories, OfTwoKeyFilesHaveTheirOwnKeys) {
  other_.key_file += ".other";
  const CreatedRepository made = create_other();
  EXPECT_TRUE(made.key_file_created);
  EXPECT_EQ(made.shares_keys_with, "");
  EXPECT_FALSE(share());
}

TEST_F(TwoRepositories, AreMadeThoughTheOtherCannotBeAsked) {
  std::ofstream(fs::path(config_.url) / "format") << "damaged";
  const CreatedRepository made = create_other();
  EXPECT_TRUE(made.created);
  EXPECT_EQ(made.shares_keys_with, "");
  ASSERT_EQ(made.notes.size(), 1U);
  EXPECT_THAT(made.notes.front(), HasSubstr("main could not be asked"));
}

// It would take the place of the lost one, which alone opens the other.
TEST_F(TwoRepositories, GetNoNewKeyFileForALostOne) {
  fs::remove(config_.key_file);
  for (const bool own_keys : {false, true}) {
    EXPECT_EQ(failure([&] { create_other(own_keys); }).kind(), ErrorKind::kKey);
  }
  EXPECT_FALSE(fs::exists(config_.key_file));
}

TEST_F(Repositories, InABucketNeedCredentials) {
  setenv("HOME", directory_.path().c_str(), 1);
  setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
  unsetenv("AWS_ACCESS_KEY_ID");
  config_.url = "s3://bucket/prefix";
  config_.s3.options.bucket = "bucket";
  for (const base::Error& error : {failure([&] { open(); }), failure([&] { create(); })}) {
    EXPECT_EQ(error.kind(), ErrorKind::kConfig);
    EXPECT_THAT(error.what(), HasSubstr("no credentials for the object store"));
  }
}

TEST_F(Repositories, InABucketNeedTheirCaFile) {
  config_.url = "s3://bucket/prefix";
  config_.s3.options = {.bucket = "bucket", .ca_file = "/nowhere/ca.pem"};
  const base::Error error = failure([&] { open(); });
  EXPECT_EQ(error.kind(), ErrorKind::kConfig);
  EXPECT_THAT(error.what(), HasSubstr("holdfast.yaml:2:3: there is no ca_file /nowhere/ca.pem"));
}

}  // namespace
}  // namespace holdfast::stack
