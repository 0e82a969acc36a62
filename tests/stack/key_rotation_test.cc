#include "stack/key_rotation.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "repository/golden_sample.h"
#include "stack/repositories.h"
#include "storage/damage.h"
#include "storage/temporary_directory.h"

namespace holdfast::stack {
namespace {

namespace fs = std::filesystem;
using testing::SizeIs;

// Every moment a millisecond later than the one before, so that slots have an order.
class TickingClock final : public base::Clock {
 public:
  base::Time now() const override {
    now_ += std::chrono::milliseconds(1);
    return now_;
  }

 private:
  mutable base::Time now_ = *base::parse_time("2024-01-17", {});
};

class KeyRotation : public testing::Test {
 protected:
  KeyRotation() {
    for (const char* name : {"one", "two"}) {
      RepositoryConfig config;
      config.name = name;
      config.url = (directory_.path() / name).string();
      config.key_file = key_file();
      configs_.push_back(config);
      create_repository(config, clock_, random_);
    }
  }

  std::string key_file() const { return (directory_.path() / "holdfast.key").string(); }
  std::string new_file() const { return key_file() + ".new"; }
  std::string content(const std::string& file) { return base::read_text_file(file, 4096); }

  std::vector<std::unique_ptr<repository::Repository>> open_all() {
    std::vector<std::unique_ptr<repository::Repository>> result;
    for (const auto& config : configs_) result.push_back(open_repository(config, clock_, random_));
    return result;
  }
  RotatedKey rotate() { return rotate_key_file(open_all(), key_file()); }

  // One slot in each repository, which the key file opens.
  void expect_clean() {
    for (const auto& repository : open_all()) {
      EXPECT_THAT(repository::list_key_slots(repository->storage()), SizeIs(1));
      EXPECT_TRUE(repository->slot());
    }
    EXPECT_FALSE(fs::exists(new_file()));
  }

  storage::TemporaryDirectory directory_;
  TickingClock clock_;
  crypto::SystemRandom random_;
  std::vector<RepositoryConfig> configs_;
};

TEST_F(KeyRotation, GivesEveryRepositoryOfTheFileTheNewSecret) {
  const std::string old = content(key_file());
  fs::permissions(key_file(), fs::perms(0640));
  const RotatedKey rotated = rotate();
  expect_clean();
  EXPECT_NE(content(key_file()), old);
  EXPECT_EQ(content(rotated.old_key_file), old);
  EXPECT_EQ(key_file_access(key_file()), KeyFileAccess::kGroup);  // who could read it still can
  EXPECT_THAT(rotated.added, SizeIs(2));
  for (const auto& repository : open_all()) {
    EXPECT_FALSE(opens(*repository, read_key_file(rotated.old_key_file)));
  }
}

// Only the slot changes: no pack, index, record or log is written again, and hosts that hold only
// write-only keys go on as before.
TEST_F(KeyRotation, RewritesNoData) {
  repository::Sample sample;
  crypto::SecretText exported;
  {
    const auto repositories = open_all();
    const repository::Repository& first = *repositories[0];
    sample = repository::put_sample(first.context(), "database", clock_.now());
    exported = repository::export_key_file(first.keyring().write_only());
    create_key_file((directory_.path() / "host.key").string(), random_);
    repository::add_key_slot(first.storage(), first.keyring().write_only(),
                             read_key_file((directory_.path() / "host.key").string()), "host",
                             clock_.now(), random_);
  }
  const auto objects = [&] {
    std::map<std::string, base::Bytes> result;
    const auto repository = open_repository(configs_[0], clock_, random_);
    for (const std::string& name : storage::names_in(repository->storage())) {
      if (!name.starts_with("keys/")) {
        result[name] = storage::content_of(repository->storage(), name);
      }
    }
    return result;
  };
  const auto before = objects();
  ASSERT_THAT(before, SizeIs(testing::Gt(4)));
  rotate();
  EXPECT_TRUE(objects() == before);

  const auto open_with = [&](const repository::Credential& credential) {
    return repository::Repository::open(open_storage(configs_[0], clock_, random_), credential,
                                        clock_, random_, 3);
  };
  int number = 0;
  for (const repository::Credential& credential :
       {read_key_file((directory_.path() / "host.key").string()),
        repository::parse_key_file(exported)}) {
    const auto host = open_with(credential);
    EXPECT_FALSE(host->keyring().can_read_data());
    const std::string name = "host" + std::to_string(++number);
    const repository::Sample more = repository::put_sample(host->context(), name, clock_.now());
    const auto full = open_with(read_key_file(key_file()));
    EXPECT_EQ(repository::get_record(full->context(), more.backup).summary.component, name);
    EXPECT_EQ(repository::get_record(full->context(), sample.backup).summary.component, "database");
  }
}

// The steps of a rotation, cut off after each.
TEST_F(KeyRotation, GoesOnAfterOnlyTheFileWasWritten) {
  create_key_file(new_file(), random_);
  const std::string stray = content(new_file());
  rotate();
  expect_clean();
  EXPECT_NE(content(key_file()), stray);
}

TEST_F(KeyRotation, GoesOnAfterSomeSlotsWereAdded) {
  create_key_file(new_file(), random_);
  const std::string next = content(new_file());
  const auto repositories = open_all();
  repository::add_key_slot(repositories[1]->storage(), repositories[1]->keyring(),
                           read_key_file(new_file()), "rotated", clock_.now(), random_);
  EXPECT_TRUE(rotate().finished_earlier);
  expect_clean();
  EXPECT_EQ(content(key_file()), next);
}

TEST_F(KeyRotation, GoesOnAfterTheFilesChangedPlaces) {
  const std::string old = content(key_file());
  create_key_file(new_file(), random_);
  const std::string next = content(new_file());
  const auto repositories = open_all();
  for (const auto& repository : repositories) {
    repository::add_key_slot(repository->storage(), repository->keyring(),
                             read_key_file(new_file()), "rotated", clock_.now(), random_);
  }
  // Also with one old slot gone already.
  repository::remove_key_slot(repositories[0]->storage(), *repositories[0]->slot());
  fs::rename(key_file(), key_file() + ".x");
  fs::rename(new_file(), key_file());
  fs::rename(key_file() + ".x", new_file());

  const RotatedKey rotated = rotate();
  EXPECT_TRUE(rotated.finished_earlier);
  expect_clean();
  EXPECT_EQ(content(key_file()), next);
  EXPECT_EQ(content(rotated.old_key_file), old);
}

// FILE.new holds the old secret, which opens nothing any more: it must not come back to life.
TEST_F(KeyRotation, NeverTakesASecretThatWasGivenUp) {
  const RotatedKey first = rotate();
  fs::rename(first.old_key_file, new_file());
  const std::string old = content(new_file());
  rotate();
  expect_clean();
  EXPECT_NE(content(key_file()), old);
}

TEST_F(KeyRotation, IsRefusedToAWriteOnlyKey) {
  const auto repositories = open_all();
  const auto text = repository::export_key_file(repositories[0]->keyring().write_only());
  const std::string exported = (directory_.path() / "write-only.key").string();
  base::create_file_durably(exported, base::as_bytes(text.view()), 0600);
  configs_.resize(1);
  configs_[0].key_file = exported;
  try {
    rotate_key_file(open_all(), exported);
    FAIL() << "no error";
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::kRefused);
  }
}

}  // namespace
}  // namespace holdfast::stack
