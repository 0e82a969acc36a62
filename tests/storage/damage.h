// What bad disks and bad people do to objects. Each throws std::logic_error where the test names an
// object that is not there, or damage that would change nothing.
#pragma once

#include <cstddef>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "storage/storage.h"

namespace holdfast::storage {

inline base::Bytes content_of(Storage& storage, std::string_view name) {
  auto content = storage.get(name, std::numeric_limits<std::uint64_t>::max());
  if (!content) throw std::logic_error("no object " + std::string(name));
  return std::move(*content);
}

inline std::vector<std::string> names_in(Storage& storage, std::string_view prefix = {}) {
  std::vector<std::string> names;
  storage.list(prefix, [&](const ObjectInfo& info) { names.push_back(info.name); });
  return names;
}

inline void delete_object(Storage& storage, std::string_view name) {
  if (!storage.remove(name)) throw std::logic_error("no object " + std::string(name));
}

inline void replace_object(Storage& storage, std::string_view name, base::ByteView content) {
  delete_object(storage, name);
  storage.put(name, content);
}

// Keeps the first `size_bytes`.
inline void truncate_object(Storage& storage, std::string_view name, std::size_t size_bytes) {
  base::Bytes content = content_of(storage, name);
  if (size_bytes >= content.size()) throw std::logic_error("nothing to cut off");
  content.resize(size_bytes);
  replace_object(storage, name, content);
}

inline void append_to_object(Storage& storage, std::string_view name, base::ByteView more) {
  if (more.empty()) throw std::logic_error("nothing to append");
  base::Bytes content = content_of(storage, name);
  content.insert(content.end(), more.begin(), more.end());
  replace_object(storage, name, content);
}

// `bit` counts from the lowest bit of the first byte.
inline void flip_bit(Storage& storage, std::string_view name, std::size_t bit) {
  base::Bytes content = content_of(storage, name);
  content.at(bit / 8) ^= static_cast<std::uint8_t>(1u << (bit % 8));
  replace_object(storage, name, content);
}

inline void swap_objects(Storage& storage, std::string_view a, std::string_view b) {
  const base::Bytes content_a = content_of(storage, a);
  const base::Bytes content_b = content_of(storage, b);
  if (content_a == content_b) throw std::logic_error("the same content twice");
  replace_object(storage, a, content_b);
  replace_object(storage, b, content_a);
}

// Every object of `from` into `to`: to damage a copy, or to put an older object back.
inline void copy_objects(Storage& from, Storage& to) {
  for (const std::string& name : names_in(from)) to.put(name, content_of(from, name));
}

}  // namespace holdfast::storage
