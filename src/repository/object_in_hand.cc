#include "repository/object_in_hand.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace holdfast::repository {
namespace {

[[noreturn]] void refuse_change(std::string_view name) {
  throw base::Error(base::ErrorKind::kRefused, fmt::format("{} cannot be changed in hand", name));
}

}  // namespace

storage::PutResult ObjectInHand::put(std::string_view name, base::ByteView, storage::Use) {
  refuse_change(name);
}

bool ObjectInHand::remove(std::string_view name) { refuse_change(name); }

std::optional<base::Bytes> ObjectInHand::get(std::string_view name, std::uint64_t max_size_bytes) {
  if (name != name_) return std::nullopt;
  if (content_.size() > max_size_bytes) {
    throw base::Error(base::ErrorKind::kDamaged, fmt::format("{} is too large", name));
  }
  return base::Bytes(content_.begin(), content_.end());
}

std::optional<std::size_t> ObjectInHand::read(std::string_view name, std::uint64_t offset,
                                              base::MutableByteView buffer) {
  if (name != name_) return std::nullopt;
  const auto begin = static_cast<std::size_t>(std::min<std::uint64_t>(offset, content_.size()));
  const std::size_t size = std::min(buffer.size(), content_.size() - begin);
  std::copy_n(content_.begin() + static_cast<std::ptrdiff_t>(begin), size, buffer.begin());
  return size;
}

std::optional<storage::ObjectInfo> ObjectInHand::stat(std::string_view name) {
  if (name != name_) return std::nullopt;
  return storage::ObjectInfo{name_, content_.size(), {}};
}

void ObjectInHand::list(std::string_view prefix,
                        const std::function<void(const storage::ObjectInfo&)>& each) {
  if (name_.starts_with(prefix)) each({name_, content_.size(), {}});
}

}  // namespace holdfast::repository
