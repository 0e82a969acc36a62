// Objects that go from one repository to another of the same keys as they are: read, checked as far
// as the credential reaches, and put. Internal to this folder.
#pragma once

#include <optional>
#include <string>

#include "base/bytes.h"
#include "repository/index.h"

namespace holdfast::repository {

// One per thread: keeps a buffer as large as the largest object that it has seen. Both contexts
// outlive it, and share their keys.
class ObjectCopier {
 public:
  ObjectCopier(const Context& from, const Context& to) : from_(from), to_(to) {}

  // Header and directory are authenticated, and every chunk where a credential of the two can read
  // it. kDamaged, and nothing is put, where something is wrong; also where the target holds
  // something else under the name. kRefused where the target's keys do not open it. Gives what is
  // in the pack.
  Index::PackContents copy_pack(const PackEntry& pack);
  // The same for a log object. kRefused where the target holds another content under the name.
  void copy_log(const std::string& name, std::uint64_t size_bytes);

 private:
  base::ByteView fetch(const std::string& name, std::uint64_t size_bytes);
  // The context of the two that can read data, if one can, on another storage.
  Context reading(storage::Storage& storage) const;
  void check_chunks(const PackId& id, base::ByteView pack, const Index::PackContents& contents);
  void check_log(const std::string& name, base::ByteView object);

  const Context& from_;
  const Context& to_;
  base::AlignedBuffer buffer_;
};

// Whether the target holds the log with the same content already. kDamaged where the source has it
// not, kRefused where the target has it with other content.
bool is_log_there(const Context& from, const Context& to, const std::string& name);

}  // namespace holdfast::repository
