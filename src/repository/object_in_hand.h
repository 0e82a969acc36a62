// One object whose bytes are at hand, as a storage of its own: what reads an object from storage
// then checks it before it is put anywhere. Internal to this folder.
#pragma once

#include <string>

#include "storage/storage.h"

namespace holdfast::repository {

// The bytes outlive it.
class ObjectInHand final : public storage::Storage {
 public:
  ObjectInHand(std::string name, base::ByteView content)
      : name_(std::move(name)), content_(content) {}

  storage::PutResult put(std::string_view name, base::ByteView content, storage::Use use) override;
  std::optional<base::Bytes> get(std::string_view name, std::uint64_t max_size_bytes) override;
  std::optional<std::size_t> read(std::string_view name, std::uint64_t offset,
                                  base::MutableByteView buffer) override;
  std::optional<storage::ObjectInfo> stat(std::string_view name) override;
  void list(std::string_view prefix,
            const std::function<void(const storage::ObjectInfo&)>& each) override;
  bool remove(std::string_view name) override;
  std::string describe() const override { return name_; }

 private:
  const std::string name_;
  const base::ByteView content_;
};

}  // namespace holdfast::repository
