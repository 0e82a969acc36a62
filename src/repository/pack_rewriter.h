// Copies the chunks that are still needed out of packs of which little is. They stay compressed as
// they are. Internal to this folder.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "repository/pack_builder.h"

namespace holdfast::repository {

// Memory: 17 MiB for each class of packs. Not thread-safe; context and index outlive it.
class PackRewriter {
 public:
  PackRewriter(const Context& context, const Index& index);

  // `chunks`: the numbers in the pack of those that are needed, ascending. kDamaged: a chunk cannot
  // be copied, and the pack must stay. kRefused where the credential cannot read it.
  void copy(std::uint32_t pack, std::span<const std::uint32_t> chunks);

  // Puts the last packs and the index objects that name them all: what was copied is durable then.
  void finish();

  std::uint64_t bytes_put() const { return bytes_put_; }

 private:
  void put(std::optional<PackBuilder>& open);
  void put_index();

  const Context& context_;
  const Index& index_;
  std::array<std::optional<PackBuilder>, 2> open_;  // of each class
  std::vector<Index::PackContents> not_indexed_;
  std::uint64_t bytes_put_ = 0;
};

}  // namespace holdfast::repository
