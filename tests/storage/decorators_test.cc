// The decorators that other tests rely on: they keep the contract, and do what they say.
#include <gmock/gmock.h>

#include <memory>

#include "base/error.h"
#include "storage/contents.h"
#include "storage/contract.h"
#include "storage/damage.h"
#include "storage/fault_storage.h"
#include "storage/memory.h"
#include "storage/recording_storage.h"

namespace holdfast::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A decorator with what it needs; shares its life.
template <typename Decorator, typename State>
std::shared_ptr<Storage> decorated_memory() {
  struct Parts {
    std::unique_ptr<Storage> memory = open_memory();
    State state;
    Decorator decorator{*memory, state};
  };
  auto parts = std::make_shared<Parts>();
  return {parts, &parts->decorator};
}

INSTANTIATE_TEST_SUITE_P(
    Decorators, StorageContract,
    testing::Values(ContractSubject{"fault", decorated_memory<FaultStorage, Faults>},
                    ContractSubject{"recording", decorated_memory<RecordingStorage, Recording>}),
    subject_name);

class FaultStorageTest : public testing::Test {
 protected:
  std::unique_ptr<Storage> memory_ = open_memory();
  Faults faults_;
  FaultStorage storage_{*memory_, faults_};
  const base::Bytes content_ = make_content(100, 1);
};

TEST_F(FaultStorageTest, FailsTheNthOperationBeforeItsEffect) {
  faults_.arm({.at = 2, .kind = base::ErrorKind::kNoSpace});
  storage_.put("a", content_);
  EXPECT_FALSE(faults_.fired());
  try {
    storage_.put("b", content_);
    FAIL() << "no error";
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::kNoSpace);
    EXPECT_STREQ(error.what(), "injected fault: put b");
  }
  EXPECT_TRUE(faults_.fired());
  storage_.put("c", content_);
  EXPECT_THAT(names_in(*memory_), ElementsAre("a", "c"));
  EXPECT_EQ(faults_.count(), 3u);
}

TEST_F(FaultStorageTest, LosesAnAnswer) {
  faults_.arm({.at = 1, .after_effect = true});
  EXPECT_THROW(storage_.put("a", content_), base::Error);
  EXPECT_EQ(content_of(*memory_, "a"), content_);
  EXPECT_EQ(storage_.put("a", content_), PutResult::kExists);
}

TEST_F(FaultStorageTest, FailsFromThenOn) {
  faults_.arm({.at = 2, .after_effect = true, .from_then_on = true});
  storage_.put("a", content_);
  EXPECT_THROW(storage_.put("b", content_), base::Error);
  EXPECT_THROW(storage_.put("c", content_), base::Error);
  EXPECT_THROW(storage_.stat("a"), base::Error);
  EXPECT_THROW(storage_.list({}, [](const ObjectInfo&) {}), base::Error);
  faults_.disarm();
  EXPECT_THAT(names_in(storage_), ElementsAre("a", "b"));
}

TEST_F(FaultStorageTest, CountsWhatItIsToldTo) {
  faults_.arm({.at = 2, .operations = {Operation::kPut, Operation::kRemove}, .name_prefix = "p/"});
  storage_.put("a", content_);
  storage_.put("p/a", content_);
  storage_.stat("p/a");
  storage_.remove("a");
  EXPECT_EQ(faults_.count(), 1u);
  EXPECT_THROW(storage_.remove("p/a"), base::Error);
  EXPECT_THAT(names_in(*memory_), ElementsAre("p/a"));
}

TEST(RecordingStorageTest, NotesWhatWasDone) {
  const auto memory = open_memory();
  Recording recording;
  RecordingStorage storage(*memory, recording);
  base::Bytes buffer(30);
  storage.put("p/a", make_content(100, 1));
  storage.put("p/a", make_content(50, 1));
  storage.get("p/a", 100);
  storage.get("q", 100);
  storage.read("p/a", 90, buffer);
  storage.stat("p/a");
  storage.list("p/", [](const ObjectInfo&) {});
  storage.remove("p/a");
  EXPECT_THROW(storage.stat(".."), base::Error);
  EXPECT_THAT(recording.all(),
              ElementsAre(Io{Operation::kPut, "p/a", 100}, Io{Operation::kPut, "p/a", 0},
                          Io{Operation::kGet, "p/a", 100}, Io{Operation::kGet, "q", 0},
                          Io{Operation::kRead, "p/a", 10}, Io{Operation::kStat, "p/a", 0},
                          Io{Operation::kList, "p/", 1}, Io{Operation::kRemove, "p/a", 0}));
  EXPECT_EQ(recording.count(Operation::kGet), 2u);
  EXPECT_EQ(recording.count(Operation::kGet, "p/"), 1u);
  EXPECT_EQ(recording.bytes(Operation::kPut), 100u);
  recording.clear();
  EXPECT_THAT(recording.all(), IsEmpty());
}

class DamageTest : public testing::Test {
 protected:
  void SetUp() override {
    storage_->put("a", base::as_bytes("abc"));
    storage_->put("b", base::as_bytes("xyz"));
  }
  std::string text(std::string_view name) {
    return std::string(base::as_text(content_of(*storage_, name)));
  }
  std::unique_ptr<Storage> storage_ = open_memory();
};

TEST_F(DamageTest, DoesWhatItSays) {
  truncate_object(*storage_, "a", 2);
  EXPECT_EQ(text("a"), "ab");
  append_to_object(*storage_, "a", base::as_bytes("d"));
  EXPECT_EQ(text("a"), "abd");
  flip_bit(*storage_, "a", 8 + 5);
  EXPECT_EQ(text("a"), "aBd");
  swap_objects(*storage_, "a", "b");
  EXPECT_EQ(text("a"), "xyz");
  EXPECT_EQ(text("b"), "aBd");
  delete_object(*storage_, "a");
  EXPECT_THAT(names_in(*storage_), ElementsAre("b"));
}

TEST_F(DamageTest, RefusesToChangeNothing) {
  EXPECT_THROW(delete_object(*storage_, "c"), std::logic_error);
  EXPECT_THROW(truncate_object(*storage_, "a", 3), std::logic_error);
  EXPECT_THROW(append_to_object(*storage_, "a", {}), std::logic_error);
  EXPECT_THROW(flip_bit(*storage_, "a", 24), std::out_of_range);
  EXPECT_THROW(swap_objects(*storage_, "a", "a"), std::logic_error);
}

TEST_F(DamageTest, CopiesAllObjects) {
  const auto copy = open_memory();
  copy_objects(*storage_, *copy);
  delete_object(*storage_, "a");
  EXPECT_THAT(names_in(*copy), ElementsAre("a", "b"));
}

}  // namespace
}  // namespace holdfast::storage
