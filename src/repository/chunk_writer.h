// Stores chunks: hash, look up, compress, seal, append to a pack; full packs go to storage.
//
// A ChunkStore is one writing run. Every worker thread has a Writer of its own, so that the hot
// path takes no lock but that of a shard of the set of chunks which this run has stored: each fills
// its own data pack in memory. Metadata is little, and goes to one pack that all share. Full packs
// are put by `upload_threads` threads through a bounded queue, while the worker goes on with the
// next buffer. Memory: (writers + upload_threads + 3) × 17 MiB at most, and 56 bytes for each new
// chunk.
//
// Order on disk: packs, then the index objects that name them. finish() gives the ids of those;
// only after it may a record be written. An index object is put after every 16 packs, so that a run
// that was killed has stored little in vain (and what it has stored is adopted by Index::load).
#pragma once

#include <memory>
#include <vector>

#include "repository/index.h"

namespace holdfast::repository {

struct StoreStatistics {
  std::uint64_t chunks = 0;        // asked for
  std::uint64_t chunks_new = 0;    // stored
  std::uint64_t bytes = 0;         // plain, asked for
  std::uint64_t bytes_new = 0;     // plain, stored
  std::uint64_t bytes_stored = 0;  // size of all objects put
};

class ChunkStore {
 public:
  struct Options {
    int upload_threads = 0;                          // 0: as the storage can use, 4 at most
    std::size_t pack_size_bytes = 16 * 1024 * 1024;  // a pack is closed when it reaches this
  };

  // `index` is what is there already; it must outlive the store and not change. So must the
  // context.
  ChunkStore(const Context& context, const Index& index, Options options);
  ~ChunkStore();  // a run that did not finish leaves packs that no record needs

  class Writer {
   public:
    ~Writer();
    // A chunk of whole pages; page_size a power of two from 512 to 65536, at most 4 MiB in all.
    // Content that is all zero gives the zero id and stores nothing. What is given is read, not
    // kept.
    ChunkId put_pages(base::ByteView pages, std::uint32_t page_size);
    // A chunk of anything, 1 byte to 4 MiB.
    ChunkId put_bytes(base::ByteView bytes);
    // The same under the metadata key, so that a write-only host can read it back.
    ChunkId put_metadata(base::ByteView bytes);
    // Hands over what is not yet stored. No put after it. A Writer that is destroyed without it
    // fails the run: what others took for stored may have been in its pack.
    void finish();

   private:
    friend class ChunkStore;
    struct Impl;
    explicit Writer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
  };

  // One for each thread; the store outlives it.
  std::unique_ptr<Writer> new_writer();

  // After every Writer has finished: waits until all packs are durable, puts the last index objects
  // (which also name the packs that the index has adopted), and gives the ids of all that this run
  // put. Rethrows the first failure of an upload; so does every put from then on.
  std::vector<IndexId> finish();

  StoreStatistics statistics() const;  // exact after finish()

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::repository
