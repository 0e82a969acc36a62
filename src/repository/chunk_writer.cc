#include "repository/chunk_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <span>
#include <unordered_set>
#include <utility>

#include "base/concurrency.h"
#include "base/error.h"
#include "repository/chunk_hash.h"
#include "repository/pack_builder.h"

namespace holdfast::repository {
namespace {

constexpr std::size_t kPacksPerIndex = 16;
constexpr int kMostUploads = 4;

void require(bool condition, std::string_view what) {
  if (!condition) {
    throw base::Error(base::ErrorKind::kFailed, fmt::format("a mistake in the program: {}", what));
  }
}

// The chunks that this run stores. Sharded, so that workers hardly ever meet at a lock.
class ClaimSet {
 public:
  // True for the first who asks: the one who must store it.
  bool claim(const ChunkId& id) {
    // The hash table uses the first bytes.
    return shards_[id.bytes.back() % kShards].lock()->insert(id).second;
  }

 private:
  static constexpr std::size_t kShards = 64;
  std::array<base::Guarded<std::unordered_set<ChunkId>>, kShards> shards_;
};

struct Counters {
  std::atomic<std::uint64_t> chunks{0};
  std::atomic<std::uint64_t> chunks_new{0};
  std::atomic<std::uint64_t> bytes{0};
  std::atomic<std::uint64_t> bytes_new{0};
  std::atomic<std::uint64_t> bytes_stored{0};
};

}  // namespace

// What the threads of a run share.
struct ChunkStore::Impl {
  Impl(const Context& context_in, const Index& index_in, Options options_in);

  // Storing. `pack` is the caller's open pack of the class.
  bool claim(const ChunkId& id, PackClass pack_class);
  void add(std::optional<PackBuilder>& pack, PackClass pack_class, const PackBuilder::Input& input,
           Compressor& compressor);
  void add_metadata(const PackBuilder::Input& input);
  // Unfinished packs of writers are joined, so that a small run leaves one.
  void hand_over(std::optional<PackBuilder>& pack);
  void enqueue(std::optional<PackBuilder>& pack);
  base::AlignedBuffer take_buffer();
  void recycle(base::AlignedBuffer buffer);

  // Uploading.
  void upload_until_closed(std::stop_token stop);
  void upload(FinishedPack pack);
  void put_index(std::span<const Index::PackContents> packs);
  std::vector<IndexId> finish();

  // The first failure ends the run. Kept as a value: each thread that rethrows it may add a
  // context.
  void fail(const std::exception_ptr& error);
  void throw_if_failed();

  struct Metadata {
    explicit Metadata(int level) : compressor(level) {}
    std::optional<PackBuilder> pack;
    Compressor compressor;
  };
  struct Stored {
    std::vector<Index::PackContents> not_indexed;
    std::vector<IndexId> indexes;
  };

  const Context& context;
  const Index& index;
  const Options options;
  Counters counters;
  std::atomic<int> open_writers{0};
  std::atomic<bool> failed{false};
  base::Guarded<std::optional<base::Error>> failure;
  ClaimSet claimed;
  ClaimSet claimed_metadata;
  base::Guarded<std::vector<base::AlignedBuffer>> free_buffers;
  base::Guarded<Metadata> metadata;
  base::Guarded<std::optional<PackBuilder>> leftover;
  base::Guarded<Stored> stored;
  base::BoundedQueue<FinishedPack> queue{1};
  base::WorkerGroup uploads;  // the last member: its threads end before the others go
};

ChunkStore::Impl::Impl(const Context& context_in, const Index& index_in, Options options_in)
    : context(context_in),
      index(index_in),
      options(options_in),
      metadata(context_in.compression_level) {
  const int threads = options.upload_threads > 0
                          ? options.upload_threads
                          : std::clamp(context.storage.requests_at_once(), 1, kMostUploads);
  for (int i = 0; i < threads; ++i) {
    uploads.start([this](std::stop_token stop) { upload_until_closed(std::move(stop)); });
  }
}

bool ChunkStore::Impl::claim(const ChunkId& id, PackClass pack_class) {
  if (index.holds(id, pack_class)) return false;
  return (pack_class == PackClass::kMetadata ? claimed_metadata : claimed).claim(id);
}

void ChunkStore::Impl::add(std::optional<PackBuilder>& pack, PackClass pack_class,
                           const PackBuilder::Input& input, Compressor& compressor) {
  if (pack && !pack->fits(input.plain.size(), input.page_hashes.size())) enqueue(pack);
  if (!pack) pack = PackBuilder::start(context, pack_class, take_buffer());
  pack->add(input, compressor);
  counters.chunks_new += 1;
  counters.bytes_new += input.plain.size();
  if (pack->size_bytes() >= options.pack_size_bytes) enqueue(pack);
}

void ChunkStore::Impl::add_metadata(const PackBuilder::Input& input) {
  auto shared = metadata.lock();
  add(shared->pack, PackClass::kMetadata, input, shared->compressor);
}

void ChunkStore::Impl::hand_over(std::optional<PackBuilder>& pack) {
  if (!pack) return;
  auto shared = leftover.lock();
  if (*shared) {
    if ((*shared)->take_over(*pack)) {
      recycle(std::move(*pack).release_buffer());
      pack.reset();
      return;
    }
    // Both don't fit into one: the fuller one goes.
    if ((*shared)->size_bytes() < pack->size_bytes()) std::swap(*shared, pack);
    enqueue(*shared);
  }
  shared->swap(pack);
}

void ChunkStore::Impl::enqueue(std::optional<PackBuilder>& pack) {
  FinishedPack finished = std::move(*pack).finish();
  pack.reset();
  if (!queue.push(std::move(finished), uploads.token())) {
    throw_if_failed();
    throw base::Error(base::ErrorKind::kInterrupted, "storing was stopped");
  }
}

base::AlignedBuffer ChunkStore::Impl::take_buffer() {
  auto buffers = free_buffers.lock();
  if (buffers->empty()) {
    return base::AlignedBuffer(PackBuilder::buffer_size(options.pack_size_bytes));
  }
  base::AlignedBuffer buffer = std::move(buffers->back());
  buffers->pop_back();
  return buffer;
}

void ChunkStore::Impl::recycle(base::AlignedBuffer buffer) {
  free_buffers.lock()->push_back(std::move(buffer));
}

void ChunkStore::Impl::upload_until_closed(std::stop_token stop) {
  try {
    while (std::optional<FinishedPack> pack = queue.pop(stop)) upload(std::move(*pack));
  } catch (...) {
    fail(std::current_exception());
    throw;
  }
}

void ChunkStore::Impl::upload(FinishedPack pack) {
  const std::string name = pack_name(pack.contents.pack.id);
  if (context.storage.put(name, pack.view(), use_of(pack.contents.pack.pack_class)) !=
      storage::PutResult::kCreated) {
    throw base::Error(base::ErrorKind::kFailed,
                      fmt::format("{}: the name is taken, though it is random", name));
  }
  counters.bytes_stored += pack.contents.pack.size_bytes;
  recycle(std::move(pack.buffer));

  std::vector<Index::PackContents> for_index;
  {
    auto shared = stored.lock();
    shared->not_indexed.push_back(std::move(pack.contents));
    if (shared->not_indexed.size() >= kPacksPerIndex) for_index.swap(shared->not_indexed);
  }
  if (!for_index.empty()) put_index(for_index);
}

void ChunkStore::Impl::put_index(std::span<const Index::PackContents> packs) {
  std::uint64_t size_bytes = 0;
  const IndexId id = repository::put_index(context, packs, {}, &size_bytes);
  counters.bytes_stored += size_bytes;
  stored.lock()->indexes.push_back(id);
}

std::vector<IndexId> ChunkStore::Impl::finish() {
  throw_if_failed();
  require(open_writers == 0, "a run was finished before its writers");
  {
    auto shared = metadata.lock();
    if (shared->pack) enqueue(shared->pack);
  }
  {
    auto shared = leftover.lock();
    if (*shared) enqueue(*shared);
  }
  queue.close();
  uploads.join();
  throw_if_failed();

  std::vector<Index::PackContents> rest;
  rest.swap(stored.lock()->not_indexed);
  for (const std::span<const Index::PackContents> packs :
       {std::span(std::as_const(rest)), std::span(index.adopted())}) {
    for (std::size_t i = 0; i < packs.size(); i += kPacksPerIndex) {
      put_index(packs.subspan(i, std::min(kPacksPerIndex, packs.size() - i)));
    }
  }
  return std::move(stored.lock()->indexes);
}

void ChunkStore::Impl::fail(const std::exception_ptr& error) {
  auto first = failure.lock();
  if (*first) return;
  try {
    std::rethrow_exception(error);
  } catch (const base::Error& known) {
    *first = known;
  } catch (const std::exception& other) {
    *first = base::Error(base::ErrorKind::kFailed, other.what());
  }
  failed = true;
}

void ChunkStore::Impl::throw_if_failed() {
  if (!failed) return;
  throw base::Error(**failure.lock());
}

struct ChunkStore::Writer::Impl {
  explicit Impl(ChunkStore::Impl& store_in)
      : store(store_in),
        hasher(store_in.context.keyring.identity),
        compressor(store_in.context.compression_level) {
    ++store.open_writers;
  }

  // Runs `body`; what it throws ends the run, since its chunks are claimed and not stored.
  template <typename Body>
  auto guarded(Body&& body) {
    require(!finished, "a chunk was put after its writer's finish");
    store.throw_if_failed();
    try {
      return body();
    } catch (...) {
      store.fail(std::current_exception());
      throw;
    }
  }

  void count(base::ByteView plain) {
    require(!plain.empty() && plain.size() <= kMaxChunkSize, "a chunk's size is out of bounds");
    store.counters.chunks += 1;
    store.counters.bytes += plain.size();
  }

  ChunkStore::Impl& store;
  ChunkHasher hasher;
  Compressor compressor;
  std::optional<PackBuilder> pack;
  bool finished = false;
};

ChunkStore::Writer::Writer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ChunkStore::Writer::~Writer() {
  if (impl_->finished) return;
  impl_->store.fail(std::make_exception_ptr(
      base::Error(base::ErrorKind::kFailed, "a part of the run ended before it was finished")));
}

ChunkId ChunkStore::Writer::put_pages(base::ByteView pages, std::uint32_t page_size) {
  return impl_->guarded([&]() -> ChunkId {
    require(page_size >= kMinPageSize && page_size <= kMaxPageSize &&
                (page_size & (page_size - 1)) == 0 && pages.size() % page_size == 0,
            "a chunk is not of whole pages");
    impl_->count(pages);
    if (all_zero(pages)) return {};
    const ChunkId id = impl_->hasher.pages_id(pages, page_size);
    if (impl_->store.claim(id, PackClass::kData)) {
      impl_->store.add(impl_->pack, PackClass::kData,
                       {id, pages, page_size, impl_->hasher.page_hashes()}, impl_->compressor);
    }
    return id;
  });
}

ChunkId ChunkStore::Writer::put_bytes(base::ByteView bytes) {
  return impl_->guarded([&] {
    impl_->count(bytes);
    const ChunkId id = impl_->hasher.bytes_id(bytes);
    if (impl_->store.claim(id, PackClass::kData)) {
      impl_->store.add(impl_->pack, PackClass::kData, {id, bytes}, impl_->compressor);
    }
    return id;
  });
}

ChunkId ChunkStore::Writer::put_metadata(base::ByteView bytes) {
  return impl_->guarded([&] {
    impl_->count(bytes);
    const ChunkId id = impl_->hasher.bytes_id(bytes);
    if (impl_->store.claim(id, PackClass::kMetadata)) impl_->store.add_metadata({id, bytes});
    return id;
  });
}

void ChunkStore::Writer::finish() {
  impl_->guarded([&] { impl_->store.hand_over(impl_->pack); });
  impl_->finished = true;
  --impl_->store.open_writers;
}

ChunkStore::ChunkStore(const Context& context, const Index& index, Options options)
    : impl_(std::make_unique<Impl>(context, index, options)) {}

ChunkStore::~ChunkStore() = default;

std::unique_ptr<ChunkStore::Writer> ChunkStore::new_writer() {
  return std::unique_ptr<Writer>(new Writer(std::make_unique<Writer::Impl>(*impl_)));
}

std::vector<IndexId> ChunkStore::finish() { return impl_->finish(); }

StoreStatistics ChunkStore::statistics() const {
  const Counters& counters = impl_->counters;
  return {counters.chunks, counters.chunks_new, counters.bytes, counters.bytes_new,
          counters.bytes_stored};
}

}  // namespace holdfast::repository
