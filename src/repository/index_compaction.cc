#include "repository/index_compaction.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/concurrency.h"
#include "base/error.h"
#include "repository/sealed_object.h"

namespace holdfast::repository {
namespace {

constexpr std::size_t kFullObject = 50'000;  // chunks: some 2 MB
constexpr std::size_t kSmallObject = kFullObject / 2;
constexpr std::size_t kMostSmallObjects = 16;

class Compactor {
 public:
  Compactor(const Context& context, const Index& index, const IndexCompaction& what,
            const std::stop_token& stop)
      : context_(context), index_(index), what_(what), stop_(stop) {}

  std::uint64_t run() {
    for (const Index::Object& object : index_.objects()) {
      if (index_.is_replaced(object.id)) remove(object.id);  // of a prune that was killed
    }
    packs_ = what_.unnamed;
    for (const Index::Object* object : choose()) {
      base::throw_if_stopped(stop_);
      take_in(*object);
      if (chunks_ >= kFullObject) put();
    }
    if (!packs_.empty() || !replaces_.empty()) put();
    return removed_;
  }

 private:
  bool names_a_gone_pack(const Index::Object& object) const {
    for (std::uint32_t i = 0; i < object.pack_count; ++i) {
      if (what_.is_gone(index_.pack(object.first_pack + i).id)) return true;
    }
    return false;
  }

  // Those that must be replaced, and with them the small ones; or the small ones if they are many.
  std::vector<const Index::Object*> choose() const {
    std::vector<const Index::Object*> chosen;
    std::size_t small = 0;
    bool needed = !what_.unnamed.empty();
    for (const Index::Object& object : index_.objects()) {
      if (index_.is_replaced(object.id)) continue;
      const bool must = names_a_gone_pack(object);
      if (object.chunk_count < kSmallObject) ++small;
      if (must || object.chunk_count < kSmallObject) chosen.push_back(&object);
      needed = needed || must;
    }
    if (!needed && small <= kMostSmallObjects) chosen.clear();
    return chosen;
  }

  void take_in(const Index::Object& object) {
    const auto body = get_metadata(context_, index_name(object.id), MetadataKind::kIndex);
    if (!body) return;
    for (Index::PackContents& contents : decode_index(*body)) {
      if (what_.is_gone(contents.pack.id) || !named_.insert(contents.pack.id).second) continue;
      chunks_ += contents.chunks.size();
      packs_.push_back(std::move(contents));
    }
    old_.push_back(object.id);
    replaces_.insert(object.id);
    for (const IndexId& id : object.replaces) {
      if (what_.is_named(id)) replaces_.insert(id);
    }
  }

  void put() {
    const std::vector<IndexId> replaces(replaces_.begin(), replaces_.end());
    put_index(context_, packs_, replaces);
    for (const IndexId& id : old_) remove(id);
    packs_.clear();
    replaces_.clear();
    old_.clear();
    chunks_ = 0;
  }

  void remove(const IndexId& id) {
    if (context_.storage.remove(index_name(id))) ++removed_;
  }

  const Context& context_;
  const Index& index_;
  const IndexCompaction& what_;
  const std::stop_token& stop_;
  std::vector<Index::PackContents> packs_;  // of the object that comes next
  std::set<PackId> named_;
  std::set<IndexId> replaces_;
  std::vector<IndexId> old_;
  std::size_t chunks_ = 0;
  std::uint64_t removed_ = 0;
};

}  // namespace

std::uint64_t compact_index(const Context& context, const Index& index, const IndexCompaction& what,
                            const std::stop_token& stop) {
  return Compactor(context, index, what, stop).run();
}

}  // namespace holdfast::repository
