// Pieces of objects, fetched in blocks before they are asked for: a request takes its 20 ms whether
// it brings a kilobyte or some megabytes. Internal to the S3 driver.
#pragma once

#include <functional>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/concurrency.h"

namespace holdfast::storage::s3 {

struct ReadAheadLimits {
  std::size_t block_bytes = std::size_t{4} * 1024 * 1024;
  std::size_t blocks = 20;              // held, those under way among them: 80 MiB
  int threads = 4;                      // that fetch ahead
  std::size_t small_bytes = 64 * 1024;  // a piece below it is fetched alone, but an object's begin
};

// Thread-safe. Several readers of one block wait for one request. While most of what is fetched is
// not used (readers jump about), pieces are fetched as they are asked for.
class ReadAhead {
 public:
  // As Storage::read().
  using Fetch = std::function<std::optional<std::size_t>(
      const std::string& name, std::uint64_t offset, base::MutableByteView buffer)>;
  explicit ReadAhead(Fetch fetch, ReadAheadLimits limits = {});
  ~ReadAhead();

  std::optional<std::size_t> read(const std::string& name, std::uint64_t offset,
                                  base::MutableByteView buffer);
  // The object was removed.
  void forget(const std::string& name);

 private:
  // Null: there is no such object.
  using Content = std::shared_ptr<const base::Bytes>;
  using Key = std::pair<std::string, std::uint64_t>;  // name, number of the block
  struct Block {
    std::shared_future<Content> content;
    std::list<Key>::iterator place;  // in the order of use
    int reads = 0;
  };
  struct State {
    std::map<Key, Block> blocks;
    std::list<Key> order;  // the last used first
    std::uint64_t fetched_bytes = 0;
    std::uint64_t used_bytes = 0;
    int pieces = 0;  // fetched alone since blocks were given up
    bool is_wasteful() const;
  };
  struct Wanted {
    std::shared_future<Content> content;
    std::promise<Content> promise;  // to be kept by the caller, if it is `ours`
    bool ours = false;
  };

  bool goes_by_blocks(const std::string& name, std::uint64_t offset, std::size_t size);
  Wanted want(const Key& key);
  Wanted insert(State& state, const Key& key);
  void make_room(State& state);
  void fetch(const Key& key, std::promise<Content> promise);
  void drop(const Key& key);
  bool is_last(const Block& block) const;
  void fetch_ahead(const std::string& name, std::uint64_t number);
  void start_threads();

  const Fetch fetch_;
  const ReadAheadLimits limits_;
  base::Guarded<State> state_;
  base::BoundedQueue<std::pair<Key, std::shared_ptr<std::promise<Content>>>> ahead_;
  base::Guarded<std::vector<std::jthread>> threads_;
};

}  // namespace holdfast::storage::s3
