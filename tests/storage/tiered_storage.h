// A storage with classes, thawing, retention and unfinished uploads, as object stores have them.
// Its time is that of a ClockedStorage.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/concurrency.h"
#include "base/error.h"
#include "clocked_storage.h"
#include "storage/object_store.h"
#include "storage/storage_class.h"

namespace holdfast::storage {

class TieredStorage final : public Storage, public ObjectStore {
 public:
  explicit TieredStorage(ClockedStorage& inner) : inner_(inner) {}

  // ---- What it is like: set while nothing else uses it.

  std::string bulk_class;                // of what is put from now on
  std::optional<base::Duration> period;  // it locks
  bool freezes = true;                   // false: the names of the classes mean nothing to it
  int looks_to_thaw = 1;                 // an object is asked about so often before it is thawed
  bool may_lock = true;
  std::vector<UnfinishedUpload> uploads{};

  // ---- What it was asked.

  int states() { return state_.lock()->states; }
  int thaws() { return state_.lock()->thaws; }
  int locks() { return state_.lock()->locks; }
  std::optional<base::Time> locked_until(const std::string& name) {
    return state_.lock()->objects[name].locked_until;
  }

  // ---- Storage

  PutResult put(std::string_view name, base::ByteView content, Use use = Use::kMetadata) override {
    const PutResult result = inner_.put(name, content, use);
    if (result != PutResult::kCreated) return result;
    Object object;
    if (use == Use::kBulk) object.storage_class = bulk_class;
    if (period && use != Use::kTransient) object.locked_until = inner_.now() + *period * 5 / 4;
    state_.lock()->objects.insert_or_assign(std::string(name), object);
    return result;
  }
  std::optional<base::Bytes> get(std::string_view name, std::uint64_t max_size_bytes) override {
    require_readable(name);
    return inner_.get(name, max_size_bytes);
  }
  std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                  base::MutableByteView buffer) override {
    require_readable(name);
    return inner_.read(name, offset, buffer);
  }
  std::optional<ObjectInfo> stat(std::string_view name) override {
    auto info = inner_.stat(name);
    if (info) info->storage_class = state_.lock()->objects[info->name].storage_class;
    return info;
  }
  void list(std::string_view prefix, const std::function<void(const ObjectInfo&)>& each) override {
    inner_.list(prefix, [&](ObjectInfo info) {
      info.storage_class = state_.lock()->objects[info.name].storage_class;
      each(info);
    });
  }
  bool remove(std::string_view name) override {
    const auto until = locked_until(std::string(name));
    if (until && *until > inner_.now()) {
      throw base::Error(base::ErrorKind::kPermission, std::string(name) + " is locked");
    }
    return inner_.remove(name);
  }
  ObjectStore* object_store() override { return this; }
  std::string describe() const override { return inner_.describe(); }

  // ---- ObjectStore

  std::optional<ObjectState> state(std::string_view name) override {
    if (!inner_.stat(name)) return std::nullopt;
    auto state = state_.lock();
    ++state->states;
    Object& object = state->objects[std::string(name)];
    ObjectState answer;
    answer.storage_class = object.storage_class;
    answer.locked_until = object.locked_until;
    if (!may_be_frozen(object.storage_class)) return answer;
    if (object.thawing && object.looks++ >= looks_to_thaw) object.thawed = true;
    answer.thaw = object.thawed    ? ObjectState::Thaw::kThawed
                  : object.thawing ? ObjectState::Thaw::kUnderWay
                                   : ObjectState::Thaw::kNeeded;
    return answer;
  }
  void thaw(std::string_view name, ThawSpeed, int) override {
    auto state = state_.lock();
    ++state->thaws;
    state->objects[std::string(name)].thawing = true;
  }
  std::optional<base::Duration> lock_period() const override { return period; }
  void lock_until(std::string_view name, base::Time until) override {
    if (!may_lock) throw base::Error(base::ErrorKind::kPermission, "AccessDenied");
    auto state = state_.lock();
    ++state->locks;
    auto& locked = state->objects[std::string(name)].locked_until;
    locked = std::max(locked.value_or(until), until);
  }
  std::vector<UnfinishedUpload> unfinished_uploads() override { return uploads; }
  void abort_upload(const UnfinishedUpload& upload) override {
    std::erase_if(uploads, [&](const auto& one) { return one.id == upload.id; });
  }
  std::vector<StoreFinding> examine() override { return {}; }

 private:
  struct Object {
    std::string storage_class;
    std::optional<base::Time> locked_until;
    bool thawing = false;
    bool thawed = false;
    int looks = 0;
  };
  struct State {
    std::map<std::string, Object> objects;
    int states = 0;
    int thaws = 0;
    int locks = 0;
  };

  void require_readable(std::string_view name) {
    auto state = state_.lock();
    const Object& object = state->objects[std::string(name)];
    if (!freezes || !may_be_frozen(object.storage_class) || object.thawed) return;
    throw base::Error(base::ErrorKind::kRefused, std::string(name) + " is frozen");
  }

  ClockedStorage& inner_;
  base::Guarded<State> state_;
};

}  // namespace holdfast::storage
