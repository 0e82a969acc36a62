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
  std::size_t blocks = 12;             // held, those under way among them: 48 MiB
  int threads = 4;                     // that fetch ahead
  std::size_t gap_bytes = 256 * 1024;  // that a piece may leave out and still go on
};

struct Piece {
  std::size_t size = 0;           // of what was read
  std::uint64_t object_size = 0;  // 0: not known
};

// Thread-safe. A piece that goes on where another one ended brings its block, and the next one; so
// does one of an object that many pieces were asked of. What is read here and there is fetched as
// it is asked for, and so is all while most of what blocks bring is not used. Several readers of
// one block wait for one request.
class ReadAhead {
 public:
  // As Storage::read().
  using Fetch = std::function<std::optional<Piece>(const std::string& name, std::uint64_t offset,
                                                   base::MutableByteView buffer)>;
  explicit ReadAhead(Fetch fetch, ReadAheadLimits limits = {});
  ~ReadAhead();

  std::optional<std::size_t> read(const std::string& name, std::uint64_t offset,
                                  base::MutableByteView buffer);
  // The object was removed.
  void forget(const std::string& name);

 private:
  // Null: there is no such object.
  struct Stretch {
    base::Bytes bytes;
    bool is_last = false;  // the object ends with it
  };
  using Content = std::shared_ptr<const Stretch>;
  using Key = std::pair<std::string, std::uint64_t>;  // name, number of the block
  struct Block {
    std::shared_future<Content> content;
    std::list<Key>::iterator place;  // in the order of use
    int reads = 0;
  };
  // Where pieces of an object ended last.
  struct Trail {
    std::string name;
    std::uint64_t object_size = UINT64_MAX;  // until it is known
    int pieces = 0;                          // that were asked for
    std::list<std::uint64_t> ends = {};
  };
  struct State {
    std::map<Key, Block> blocks;
    std::list<Key> order;     // the last used first
    std::list<Trail> trails;  // the last used first
    std::uint64_t fetched_bytes = 0;
    std::uint64_t used_bytes = 0;
    int pieces = 0;  // fetched alone since blocks were given up
    bool is_wasteful() const;
    Trail& trail(const std::string& name);
    bool goes_on(const std::string& name, std::uint64_t offset, std::size_t size,
                 std::size_t gap_bytes);
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
  void note(const std::string& name, const Piece& piece, bool in_block);
  void drop(const Key& key);
  void fetch_ahead(const std::string& name, std::uint64_t number);
  void start_threads();

  const Fetch fetch_;
  const ReadAheadLimits limits_;
  base::Guarded<State> state_;
  base::BoundedQueue<std::pair<Key, std::shared_ptr<std::promise<Content>>>> ahead_;
  base::Guarded<std::vector<std::jthread>> threads_;
};

}  // namespace holdfast::storage::s3
