#include "storage/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <vector>

#include "base/concurrency.h"
#include "base/error.h"

namespace holdfast::storage {
namespace {

struct Object {
  base::Bytes content;
  base::Time modified;
};

class MemoryStorage final : public Storage {
 public:
  PutResult put(std::string_view name, base::ByteView content, Use /*use*/) override {
    check_name(name);
    auto object = std::make_shared<const Object>(Object{
        .content = base::Bytes(content.begin(), content.end()),
        .modified =
            std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now())});
    const bool created = objects_.lock()->emplace(name, std::move(object)).second;
    return created ? PutResult::kCreated : PutResult::kExists;
  }

  std::optional<base::Bytes> get(std::string_view name, std::uint64_t max_size_bytes) override {
    const auto object = find(name);
    if (!object) return std::nullopt;
    if (object->content.size() > max_size_bytes) {
      throw base::Error(base::ErrorKind::kDamaged,
                        fmt::format("object {} has {} bytes, where at most {} can be right", name,
                                    object->content.size(), max_size_bytes));
    }
    return object->content;
  }

  std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                  base::MutableByteView buffer) override {
    const auto object = find(name);
    if (!object) return std::nullopt;
    const base::Bytes& content = object->content;
    if (offset >= content.size()) return 0;
    const std::size_t count =
        std::min(buffer.size(), content.size() - static_cast<std::size_t>(offset));
    std::copy_n(content.begin() + static_cast<std::ptrdiff_t>(offset), count, buffer.begin());
    return count;
  }

  std::optional<ObjectInfo> stat(std::string_view name) override {
    const auto object = find(name);
    if (!object) return std::nullopt;
    return ObjectInfo{std::string(name), object->content.size(), object->modified};
  }

  void list(std::string_view prefix, const std::function<void(const ObjectInfo&)>& each) override {
    check_prefix(prefix);
    std::vector<ObjectInfo> found;
    {
      auto objects = objects_.lock();
      for (auto at = objects->lower_bound(prefix); at != objects->end(); ++at) {
        if (!at->first.starts_with(prefix)) break;
        found.push_back({at->first, at->second->content.size(), at->second->modified});
      }
    }
    for (const ObjectInfo& info : found) each(info);
  }

  bool remove(std::string_view name) override {
    check_name(name);
    auto objects = objects_.lock();
    const auto at = objects->find(name);
    if (at == objects->end()) return false;
    objects->erase(at);
    return true;
  }

  std::string describe() const override { return "memory"; }

 private:
  std::shared_ptr<const Object> find(std::string_view name) {
    check_name(name);
    auto objects = objects_.lock();
    const auto at = objects->find(name);
    return at == objects->end() ? nullptr : at->second;
  }

  // Shared, so that the lock is never held while content is copied.
  base::Guarded<std::map<std::string, std::shared_ptr<const Object>, std::less<>>> objects_;
};

}  // namespace

std::unique_ptr<Storage> open_memory() { return std::make_unique<MemoryStorage>(); }

}  // namespace holdfast::storage
