// The damage matrix: every object of a repository, damaged in every way. verify names exactly what
// is damaged and the backups that need it; all other backups can be read; nothing is ever read
// wrong.
#include <gmock/gmock.h>

#include "repository/format_object.h"
#include "repository/log_object.h"
#include "sample_backup.h"
#include "storage/damage.h"

namespace holdfast::repository {
namespace {

using Findings = std::set<std::pair<std::string, std::string>>;  // object and backup

std::string kind_of(const std::string& name) { return name.substr(0, name.find('/')); }

class RepositoryDamage : public testing::Test {
 protected:
  // Backups a, b and c; c has the same content as a and shares all its chunks.
  void SetUp() override {
    storage::Storage& storage = *repository_.storage;
    storage.put("format", encode_format(repository_.keyring, "{}"));
    for (int i = 0; i < 2; ++i) {
      Credential credential;
      credential.key_file_secret.emplace();
      repository_.random.fill(credential.key_file_secret->writable());
      add_key_slot(storage, repository_.keyring, credential, "test", repository_.clock.now(),
                   repository_.random);
    }
    for (const std::string& name : storage::names_in(storage)) owners_[name] = {""};
    take(1, 1, {});
    take(2, 50, {});
    for (const std::string& name : storage::names_in(storage)) {
      if (owners_[name] == std::set{a()} && kind_of(name) != "backups") owners_[name].insert(c());
    }
    take(3, 1, {});
    put_logs();
    for (int i = 0; i < 2; ++i) put_verify_report(repository_.context(), {.backups = {a()}}, {});
    for (const std::string& name : storage::names_in(storage, "reports/")) owners_[name] = {""};
    original_ = storage::open_memory();
    storage::copy_objects(storage, *original_);
  }

  static std::string id_of(int number) {
    return make_backup_id("test", StoppedClock().now() + std::chrono::seconds(number));
  }
  static std::string a() { return id_of(1); }
  static std::string b() { return id_of(2); }
  static std::string c() { return id_of(3); }

  void take(int number, std::uint32_t seed, std::set<std::string> sharers) {
    files_[id_of(number)] = sample_files(seed);
    ASSERT_EQ(take_sample_backup(repository_.context(), number, sample_files(seed)), id_of(number));
    sharers.insert(id_of(number));
    for (const std::string& name : storage::names_in(*repository_.storage)) {
      owners_.emplace(name, sharers);
    }
  }

  void put_logs() {
    const std::vector<std::pair<std::string, std::set<std::string>>> logs = {
        {"wal/1/00000001/000000010000000000000001", {a()}},
        {"wal/1/00000001/000000010000000000000002", {b(), c()}}};
    std::uint32_t seed = 100;
    for (const auto& [name, owners] : logs) {
      put_log(repository_.context(), name, random_bytes(30'000, seed++),
              {{"pg.segment", random_bytes(20, seed++)}}, 1);
      owners_[name] = owners;
    }
  }

  NeededLogs needed_logs() {
    return [this](const BackupSummary& summary) {
      std::vector<std::string> names;
      for (const auto& [name, owners] : owners_) {
        if (kind_of(name) == "wal" && owners.contains(summary.id)) names.push_back(name);
      }
      return names;
    };
  }

  // With these objects damaged (and in storage, or not).
  void check(const std::vector<std::string>& damaged) {
    Findings expected;
    for (const std::string& name : damaged) {
      for (const std::string& owner : owners_.at(name)) expected.emplace(name, owner);
    }
    Findings found;
    for (const Damage& damage :
         verify_backups(repository_.context(), {a(), b(), c()}, false, needed_logs()).damaged) {
      found.emplace(damage.object, damage.backup);
      EXPECT_FALSE(damage.problem.empty());
    }
    EXPECT_EQ(found, expected);
    for (const auto& [backup, files] : files_) {
      // The chunks can be found without an index object, and logs are read by others.
      const bool readable = std::none_of(expected.begin(), expected.end(), [&](const auto& item) {
        const std::string kind = kind_of(item.first);
        return item.second == backup && kind != "index" && kind != "wal";
      });
      try {
        EXPECT_EQ(read_sample_backup(repository_.context(), backup), files) << backup;
      } catch (const base::Error& error) {
        EXPECT_FALSE(readable) << error.what();
        EXPECT_THAT(error.kind(),
                    testing::AnyOf(base::ErrorKind::kDamaged, base::ErrorKind::kNotFound));
      }
    }
  }

  void restore(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      repository_.storage->remove(name);
      repository_.storage->put(name, storage::content_of(*original_, name));
    }
  }

  template <typename Body>
  void for_each_object(Body body) {
    for (const std::string& name : storage::names_in(*original_)) {
      SCOPED_TRACE(name);
      body(name);
      if (HasFailure()) return;
      restore({name});
    }
  }

  TestRepository repository_;
  std::map<std::string, SampleFiles> files_;
  std::map<std::string, std::set<std::string>> owners_;  // "" for what is everyone's
  std::unique_ptr<storage::Storage> original_;
};

TEST_F(RepositoryDamage, NoneIsFound) {
  std::set<std::string> kinds;
  for (const std::string& name : storage::names_in(*original_)) kinds.insert(kind_of(name));
  EXPECT_EQ(kinds, (std::set<std::string>{"backups", "format", "index", "keys", "packs", "reports",
                                          "wal"}));
  check({});
}

// One of several key slots and a report may be gone: both are removed on purpose, too.
TEST_F(RepositoryDamage, Delete) {
  for_each_object([&](const std::string& name) {
    storage::delete_object(*repository_.storage, name);
    const bool may_be_gone = kind_of(name) == "keys" || kind_of(name) == "reports";
    check(may_be_gone ? std::vector<std::string>{} : std::vector{name});
  });
}

TEST_F(RepositoryDamage, TheLastKeySlot) {
  const std::vector<std::string> slots = storage::names_in(*original_, "keys/");
  for (const std::string& name : slots) storage::delete_object(*repository_.storage, name);
  owners_["keys/"] = {""};
  check({"keys/"});
}

TEST_F(RepositoryDamage, Truncate) {
  for_each_object([&](const std::string& name) {
    const std::size_t size = storage::content_of(*original_, name).size();
    for (const std::size_t left : {std::size_t{0}, std::size_t{1}, size / 2, size - 1}) {
      SCOPED_TRACE(left);
      storage::truncate_object(*repository_.storage, name, left);
      check({name});
      restore({name});
    }
  });
}

TEST_F(RepositoryDamage, FlipABit) {
  std::mt19937 generator(1);
  for_each_object([&](const std::string& name) {
    const std::size_t bits = storage::content_of(*original_, name).size() * 8;
    std::vector<std::size_t> places = {0, 70, bits / 2, bits - 1};
    for (int i = 0; i < 8; ++i) places.push_back(generator() % bits);
    for (const std::size_t bit : places) {
      SCOPED_TRACE(bit);
      storage::flip_bit(*repository_.storage, name, bit);
      check({name});
      restore({name});
    }
  });
}

TEST_F(RepositoryDamage, Append) {
  for_each_object([&](const std::string& name) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{5000}}) {
      storage::append_to_object(*repository_.storage, name, base::Bytes(size, 0));
      check({name});
      restore({name});
    }
  });
}

TEST_F(RepositoryDamage, SwapWithAnother) {
  const std::vector<std::string> names = storage::names_in(*original_);
  for (std::size_t i = 0; i + 1 < names.size(); ++i) {
    const std::string& one = names[i];
    const std::string& other = names[i + 1];
    if (kind_of(one) != kind_of(other)) continue;
    SCOPED_TRACE(one + " and " + other);
    storage::swap_objects(*repository_.storage, one, other);
    check({one, other});
    ASSERT_FALSE(HasFailure());
    restore({one, other});
  }
}

// Objects of another repository, under the names of this one.
TEST_F(RepositoryDamage, PutAnotherRepositorysInItsPlace) {
  TestRepository other(2);
  take_sample_backup(other.context(), 1, sample_files(1));
  put_log(other.context(), "wal/1/00000001/000000010000000000000001", random_bytes(30'000, 100), {},
          1);
  put_verify_report(other.context(), {.backups = {a()}}, {});
  other.storage->put("format", encode_format(other.keyring, "{}"));
  Credential credential;
  credential.key_file_secret.emplace();
  add_key_slot(*other.storage, other.keyring, credential, "test", other.clock.now(), other.random);
  for (const std::string& theirs : storage::names_in(*other.storage)) {
    for_each_object([&](const std::string& name) {
      if (kind_of(name) != kind_of(theirs)) return;
      storage::replace_object(*repository_.storage, name,
                              storage::content_of(*other.storage, theirs));
      check({name});
    });
  }
}

}  // namespace
}  // namespace holdfast::repository
